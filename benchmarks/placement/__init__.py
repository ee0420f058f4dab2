"""Pages and pictures of placements: the bars and the published methods."""

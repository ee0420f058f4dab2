"""Pages and pictures of placements: the targets and the published methods."""

"""Pages and pictures of the trained attention."""

"""A server that is killed, over a link that breaks, for hours."""

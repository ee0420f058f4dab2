"""A placed network on Ray nodes with shaped links, as a page."""

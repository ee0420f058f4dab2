"""Published methods and searches, as rivals."""

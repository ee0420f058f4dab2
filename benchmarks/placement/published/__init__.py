"""Published placement methods, written from their descriptions, to compare ours with."""

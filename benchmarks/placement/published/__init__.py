"""Published ways to place a network, written from their descriptions, to compare ours with."""

"""Training from its options to its run folder."""

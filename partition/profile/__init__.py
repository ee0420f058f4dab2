"""Times of each cut on this machine: `python -m partition.profile`."""

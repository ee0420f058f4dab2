"""A plan at work, placed and supervised by Ray: `python -m partition.placement.run`."""

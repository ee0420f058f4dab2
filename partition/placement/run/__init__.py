"""Execution of a plan, placed and supervised by Ray: `python -m partition.placement.run`."""

"""Makers of everything in `results/`, and the values that no change of the code may move."""

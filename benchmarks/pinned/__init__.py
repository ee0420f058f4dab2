"""Pinned values that refactoring leaves as they are: `python -m benchmarks.pinned`."""

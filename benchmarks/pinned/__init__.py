"""Values that a change of the code's shape leaves as they are: `python -m benchmarks.pinned`."""

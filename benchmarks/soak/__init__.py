"""The daemon under faults and signals, for half an hour: `python -m benchmarks.soak`."""

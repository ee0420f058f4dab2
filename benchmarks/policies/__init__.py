"""The comparison of everything that decides: `python -m benchmarks.policies`."""

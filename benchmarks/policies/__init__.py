"""Comparison of everything that decides: `python -m benchmarks.policies`."""

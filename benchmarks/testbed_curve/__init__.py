"""Reward against minutes of learning on a board: `python -m benchmarks.testbed_curve`."""

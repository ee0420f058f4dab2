"""Fidelity of real networks on real inputs: `python -m benchmarks.fidelity`."""

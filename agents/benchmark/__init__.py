"""The comparison of everything that decides: `python -m agents.benchmark`."""

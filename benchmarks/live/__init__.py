"""Live runs beside the simulator's prediction; see `python -m benchmarks.live --help`."""

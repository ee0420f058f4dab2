"""Live runs against the simulator's prediction for the same requests and link."""

"""Clocks, power and temperature of NVIDIA cards."""

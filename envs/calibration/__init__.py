"""Measurement of a board with a network, and the device model that is fitted to it."""

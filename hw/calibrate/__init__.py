"""Fits of device models to measurements; the only part of `hw` that needs scipy."""

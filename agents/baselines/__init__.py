"""Baselines: published methods and searches."""

"""Makers of everything in `results/`, and the pinned values that no refactoring may change."""

"""Fit of a device model to samples, and what the fit does not know."""

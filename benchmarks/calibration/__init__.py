"""Calibration of boards against what is known of them."""

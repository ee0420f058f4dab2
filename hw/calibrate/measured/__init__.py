"""Fits to measurements of whole boards: submissions, detectors, processors."""

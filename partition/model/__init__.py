"""Prepared networks: their folder, cuts, routes and run-time."""

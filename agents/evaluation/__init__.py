"""Policies judged on held-out seeds."""

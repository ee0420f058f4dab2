"""Evaluation of policies on held-out seeds."""

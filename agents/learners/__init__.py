"""Learners of the project's own, on the base classes of Stable-Baselines3."""

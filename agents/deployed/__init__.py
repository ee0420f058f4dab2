"""A run in its folder, and a policy at work on a board."""

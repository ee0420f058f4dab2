"""Run folders, and policies at work on a board."""

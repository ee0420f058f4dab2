"""The frozen policy, as a board runs it."""

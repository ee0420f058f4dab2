"""Shared basics of all packages: how commands end, and typed reading of files."""

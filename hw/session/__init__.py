"""Changing a machine so that it can always be given back: save, journal, write, restore."""

"""A server that strangers flood: what is left for boards that ask as they should."""

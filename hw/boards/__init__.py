"""Boards: the simulated one, and Linux machines as the kernel shows them."""

"""Clocks that a kernel's governors move below a cap: in sub-steps, and what those come to."""

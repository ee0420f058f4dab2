"""Building blocks of learners: distributions, buffers, wrappers, export to a frozen policy."""

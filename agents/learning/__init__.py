"""What learners are built of: distributions, buffers, wrappers, export to a frozen policy."""

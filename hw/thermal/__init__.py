"""Temperatures, trip points and cooling devices of the kernel."""

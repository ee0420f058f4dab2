"""A test of this project on a machine that nobody here has: `sudo python -m hw.selftest`."""

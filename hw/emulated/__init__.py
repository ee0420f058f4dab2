"""A machine that does not exist, emulated by this one: its clocks, its power, its heat."""

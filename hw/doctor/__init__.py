"""Survey of a machine, and of what is in the way of driving it: `python -m hw.doctor`."""

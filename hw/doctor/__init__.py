"""What a machine offers and what is in the way: `python -m hw.doctor`."""

"""Tensors as they travel: quantised, few channels, packed."""

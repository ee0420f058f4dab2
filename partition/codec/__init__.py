"""Codec for tensors on the wire: quantised, few channels, packed."""

"""Placement of a cut network's stages on a cluster: `python -m partition.placement`."""

"""Where the stages of a cut network go on a cluster: `python -m partition.placement`."""

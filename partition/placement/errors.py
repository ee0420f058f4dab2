"""Errors of cluster files and objectives; each message is one sentence with a remedy."""

from __future__ import annotations

from partition.errors import PartitionError


class ClusterError(PartitionError):
    """A cluster file is missing, malformed or describes a cluster that cannot work."""


class PlacementError(PartitionError):
    """A wish that the planner cannot serve: an impossible limit, or a package that is missing."""


class InfeasibleError(PlacementError):
    """The network does not fit the cluster, or not within the limit."""

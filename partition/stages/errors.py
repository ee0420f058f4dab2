"""Errors of stages and of the hops between them; each message is one sentence."""

from __future__ import annotations

from partition.errors import PartitionError


class StageError(PartitionError):
    """A stage refuses what it is asked for, or a frame is broken; trying again does not help."""


class StageLostError(StageError):
    """A stage cannot be reached, stopped, or was taken over; a new session may succeed."""

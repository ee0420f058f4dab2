"""Metadata of a network's policy: everything about it but its weights."""

from __future__ import annotations

from dataclasses import dataclass

from envs.governed.governing import Governing
from envs.plant import Layout
from envs.spaces import ObservationField


@dataclass(frozen=True, slots=True)
class PolicyMetadata:
    """Everything about a policy but its weights.

    Attributes:
        algorithm: that trained it.
        layout: of the plant it was trained for.
        fields: of its observation.
        activation: between layers.
        head: "categorical" (one block of scores per axis), "box" (one number per axis, squashed),
            "clipped-box" (the same, clipped) or "table" (one score per listed action).
        table: the listed actions as indices, for that head only.
        governed: clocks that are left to the kernel's governors, below what the action says.
    """

    algorithm: str
    layout: Layout
    fields: tuple[ObservationField, ...]
    activation: str
    head: str
    table: tuple[tuple[int, ...], ...] = ()
    governed: tuple[str, ...] = ()

    @property
    def governing(self) -> Governing | None:
        """The governors of those, if any."""
        return Governing(self.governed) if self.governed else None

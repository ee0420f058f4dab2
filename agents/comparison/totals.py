"""Totals of blocks and rounds of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np

from agents.comparison.effects import Effect, absolute_effect, relative_effect
from envs.arrays import Floats


@dataclass(slots=True)
class Totals:
    """What one arm did in the counted steps of a block, or of several.

    Attributes:
        energy_j: of the board, J.
        duration_s: s.
        answered: requests.
        waited_s: time that these took from arrival to answer, added up, s.
        in_time: those of them that were answered within their latency target.
        dropped: requests without an answer.
        fell_back: requests that the cloud should have answered and the board did.
    """

    energy_j: float = 0.0
    duration_s: float = 0.0
    answered: int = 0
    waited_s: float = 0.0
    in_time: int = 0
    dropped: int = 0
    fell_back: int = 0

    def add(self, other: Totals) -> None:
        """Add another one's."""
        for field in fields(Totals):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    @property
    def energy_per_request_j(self) -> float | None:
        """J; None where nothing was answered."""
        return self.energy_j / self.answered if self.answered else None

    @property
    def latency_s(self) -> float | None:
        """Mean, s; None where nothing was answered."""
        return self.waited_s / self.answered if self.answered else None

    @property
    def deadline_hit_rate(self) -> float | None:
        """Share of the requests answered in time; None where none came."""
        asked = self.answered + self.dropped
        return self.in_time / asked if asked else None


RoundTotals: TypeAlias = tuple[Totals, Totals]
"""Of the first and the second arm in one round."""


@dataclass(frozen=True, slots=True)
class Effects:
    """The first arm against the second.

    Attributes:
        energy: of energy per request, as a logarithm of the ratio.
        latency: of the mean latency, s.
        in_time: of the deadline hit rate.
    """

    energy: Effect
    latency: Effect
    in_time: Effect

    @classmethod
    def of(cls, rounds: list[RoundTotals]) -> Effects:
        """Of at least one round."""
        energy_j, answered = _table(rounds, "energy_j"), _table(rounds, "answered")
        asked = answered + _table(rounds, "dropped")
        return cls(
            relative_effect(energy_j, answered),
            absolute_effect(_table(rounds, "waited_s"), answered),
            absolute_effect(_table(rounds, "in_time"), asked),
        )


def _table(rounds: list[RoundTotals], name: str) -> Floats:
    """One of the totals, shape (n, 2)."""
    return np.array([[float(getattr(arm, name)) for arm in each] for each in rounds])

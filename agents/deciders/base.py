"""The interface of everything that decides, and the axes of an action by name."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from agents.errors import NotSimulatedError
from envs.arrays import Floats
from envs.plant import Indices, Layout, Outcome, Plant
from envs.sim.batched_simulator import BatchedSimulator
from envs.spaces import Observations


class Decider(Protocol):
    """Chooses the actions of `n` boards at once from what their sensors show."""

    def begin(self, plant: Plant, n: int) -> None:
        """Forget what was; a new episode of `n` boards begins on a plant that was just reset.

        Only privileged deciders keep the plant, to look at what no sensor shows.
        """

    def decide(self, observations: Observations) -> Indices:
        """Choose actions, shape (n, n_axes), by observations of shape (n, n_fields)."""


@runtime_checkable
class Accountable(Protocol):
    """A decider that is told what became of the requests."""

    def account(self, asked: Floats, late: Floats) -> None:
        """Take in the requests that ended since the last decision.

        Args:
            asked: how many, of each board, shape (n,).
            late: of these, the ones that were not answered in time.
        """


def account(decider: Decider, outcome: Outcome) -> None:
    """Tell a decider what became of the requests of a control step, if it wants to know."""
    if isinstance(decider, Accountable):
        late = outcome.requests * (1.0 - outcome.deadline_hit_rate)
        decider.account(outcome.requests, late)


def simulated(plant: Plant, decider: Decider) -> BatchedSimulator:
    """Return a plant whose true state can be looked at.

    Raises:
        NotSimulatedError: there is no such state on a real board.
    """
    if not isinstance(plant, BatchedSimulator):
        raise NotSimulatedError(
            f"{type(decider).__name__} looks into the simulation and cannot drive a board; deploy "
            f"a learned policy or a rule"
        )
    return plant


def axis_sizes(layout: Layout) -> tuple[int, ...]:
    """Number of choices on each axis."""
    return tuple(len(axis.values) for axis in layout.axes)


def top_clocks(layout: Layout, n: int) -> Indices:
    """Actions with maximum clocks and the last route, shape (n, n_axes)."""
    return np.tile(np.array(axis_sizes(layout), dtype=np.int64) - 1, (n, 1))

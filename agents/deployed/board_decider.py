"""A decider of a single board, told what becomes of the requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.advised.promised import Promised
from agents.deciders.base import Accountable, Decider
from envs.live.plant import LivePlant
from envs.plant import Indices

Decide = Callable[[NDArray[np.float32]], Indices]
"""Chooses an action, shape (n_axes,), by an observation, shape (n_fields,)."""
Account = Callable[[float, float], None]
"""Takes in how many requests ended, and how many of these not in time."""


def _forget(_asked: float, _late: float) -> None:
    """Learn nothing."""


@dataclass(frozen=True, slots=True)
class BoardDecider:
    """What decides for one board.

    Attributes:
        decide: see there.
        account: what became of the requests since the last decision.
        promised: what keeps a promise, if there is one.
    """

    decide: Decide
    account: Account = _forget
    promised: Promised | None = None


def one_board(decider: Decider) -> BoardDecider:
    """Let a decider, which has begun, decide for a single board."""

    def decide(observation: NDArray[np.float32]) -> Indices:
        action: Indices = decider.decide(observation[None])[0]
        return action

    if not isinstance(decider, Accountable):
        return BoardDecider(decide)

    def account(asked: float, late: float) -> None:
        decider.account(np.array([float(asked)]), np.array([float(late)]))

    return BoardDecider(decide, account, decider if isinstance(decider, Promised) else None)


def ended(plant: LivePlant) -> tuple[int, int]:
    """How many requests ended in the last step, and how many of these not in time."""
    n_met = sum(served.met_deadline for served in plant.served)
    asked = len(plant.served) + plant.dropped
    return asked, asked - n_met

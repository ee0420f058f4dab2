"""Deciders that leave clocks to governors, on simulated boards, whose governors are modelled."""

from __future__ import annotations

from agents.deciders.base import Decider, simulated
from envs.governed.governing import Governing
from envs.plant import Indices, Plant
from envs.spaces import Observations


class UnderGovernors:
    """A decider whose word holds for some clocks only, or for none.

    On a real board its kernel's own governors move the others.
    """

    def __init__(self, decider: Decider, governing: Governing) -> None:
        """Combine a decider with what moves the clocks that it leaves."""
        self._decider, self._governing = decider, governing

    def begin(self, plant: Plant, n: int) -> None:
        """Leave the clocks, and start the decider over.

        Raises:
            NotSimulatedError: the board is a real one.
        """
        simulated(plant, self).leave_clocks(self._governing)
        self._decider.begin(plant, n)

    def decide(self, observations: Observations) -> Indices:
        """Decide; what it says of clocks that it leaves does not count."""
        return self._decider.decide(observations)

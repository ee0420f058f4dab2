"""Policies that leave some clocks to the stock governors, as DRLDO leaves all but the CPU's."""

from __future__ import annotations

from collections.abc import Sequence

from agents.deciders.base import Decider
from agents.deciders.governor import GovernorModel
from agents.deciders.nominal import NominalModel
from envs.plant import Indices, Plant
from envs.spaces import ObservationEncoder, Observations, observation_fields


class Governors:
    """The modelled governors of some clocks."""

    def __init__(self, known: NominalModel, domains: Sequence[str]) -> None:
        """Prepare for those of `domains` that the board has."""
        self._model = GovernorModel(known)
        self._encoder = ObservationEncoder(observation_fields(known.layout))
        self._columns = [k for k, name in enumerate(known.layout.domains) if name in domains]

    def overrule(self, actions: Indices, observations: Observations) -> Indices:
        """Replace their clocks in actions of shape (n, n_axes)."""
        clocks = self._model.clocks(self._encoder.decode(observations))
        actions = actions.copy()
        actions[:, self._columns] = clocks[:, self._columns]
        return actions


class PartlyGoverned:
    """A decider whose word holds for some clocks only; modelled, for simulated boards.

    On a real board the kernel's own governors choose below the maximum that is asked for.
    """

    def __init__(self, decider: Decider, known: NominalModel, domains: Sequence[str]) -> None:
        """Combine a decider with the governors of `domains`."""
        self._decider = decider
        self._governors = Governors(known, domains)

    def begin(self, plant: Plant, n: int) -> None:
        """Start the decider over."""
        self._decider.begin(plant, n)

    def decide(self, observations: Observations) -> Indices:
        """Decide, then let the governors speak."""
        return self._governors.overrule(self._decider.decide(observations), observations)

"""Run-time search over the nominal device and link model, corrected by what is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from agents.deciders.base import top_clocks
from agents.deciders.nominal import Actions, NominalModel, single
from agents.deciders.nominal_outcome import SafetyMargin, expect
from agents.deciders.pareto import useful_actions
from agents.deciders.rule import RuleKind
from envs.arrays import Floats
from envs.plant import Indices, Plant, Readings
from envs.spaces import ObservationEncoder, Observations, observation_fields

CHUNK = 200_000
"""Pairs of board and action that are weighed at once, so that arrays stay in the cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSettings:
    """What is tuned on search episodes.

    Attributes:
        dwell_steps: a switch is weighed as if the state lasted so many steps.
        link_share: share of the estimated link rate that is counted on.
        time_margin: edge computing is taken to last so many times what is expected.
        load_trend: how far the server's load is taken on along its last change, in steps.
    """

    dwell_steps: float = 8.0
    link_share: float = 1.0
    time_margin: float = 1.03
    load_trend: float = 1.0


class ModelSearch:
    """The cheapest action under the nominal models and the present readings, for each board.

    All actions are weighed in every step but those that `useful_actions` rules out; the action in
    force is always among them.
    """

    def __init__(self, known: NominalModel, settings: SearchSettings) -> None:
        """Prepare the list of actions."""
        self._known, self._settings = known, settings
        self._caution = SafetyMargin(settings.link_share, settings.time_margin)
        self._encoder = ObservationEncoder(observation_fields(known.layout))
        self._actions = Actions(known, useful_actions(known))

    def begin(self, plant: Plant, n: int) -> None:
        """Forget what was in force, and the load."""
        self._held = top_clocks(self._known.layout, n)
        self._server_idle: Floats | None = None

    def decide(self, observations: Observations) -> Indices:
        """Search for each board."""
        readings = self._foreseen(self._encoder.decode(observations))
        rows = max(CHUNK // len(self._actions.indices), 1)
        chosen = [
            self._search(readings.select(boards), self._held[boards])
            for boards in (slice(i, i + rows) for i in range(0, len(observations), rows))
        ]
        self._held = np.concatenate(chosen)
        return self._held

    def _foreseen(self, readings: Readings) -> Readings:
        """Take the server's load on, which comes afresh with every step, along its trend."""
        idle = readings.server_idle
        before = idle if self._server_idle is None else self._server_idle
        self._server_idle = idle
        ahead = np.clip(idle + self._settings.load_trend * (idle - before), 0.01, 1.0)
        return replace(readings, server_idle=ahead)

    def _search(self, readings: Readings, held: Indices) -> Indices:
        """Compare the cheapest of all actions with the one in force."""
        costs = self._costs(self._actions, readings, held)
        best = costs.argmin(axis=1)
        stay = self._costs(Actions(self._known, held[:, None, :]), readings, held)[:, 0]
        improves = np.take_along_axis(costs, best[:, None], axis=1)[:, 0] < stay
        return np.where(improves[:, None], self._actions.indices[best], held)

    def _costs(self, actions: Actions, readings: Readings, held: Indices) -> Floats:
        outcome = expect(self._known, actions, readings, held, self._caution)
        outcome = replace(outcome, switched=outcome.switched / self._settings.dwell_steps)
        return self._known.objective.cost(outcome, single(readings.eta)[:, None])


MODEL_SEARCH = RuleKind("model-search", lambda known, p: ModelSearch(known, SearchSettings(**p)))

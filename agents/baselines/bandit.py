"""A bandit over a few good actions that knows the cost of switching."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.deciders.nominal import Known
from envs.arrays import Floats
from envs.plant import SPREAD, Indices, Outcome, Plant, Readings
from envs.spaces import ObservationEncoder, Observations, observation_fields

CONTEXT = {"link_bps": 5, "server_idle": 3, "arrival_hz": 2, "latency_target_s": 2}
"""Readings that make up a context, and into how many equally likely parts each is cut."""


@dataclass(frozen=True, slots=True)
class Arms:
    """What a bandit begins with.

    Attributes:
        actions: that it chooses among, shape (k, n_axes).
        edges: of the parts of each reading in `CONTEXT`.
        means: mean cost of each arm in each context, shape (n_contexts, k).
    """

    actions: list[list[int]]
    edges: dict[str, list[float]]
    means: list[list[float]]

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Bandit:
    """Lower confidence bounds with a price on switching, as EnergyUCB (2024, arXiv 2410.11855).

    Published: per GPU frequency a mean reward, a bonus of sqrt(log t / n), and a penalty when the
    arm changes. Chosen here: arms are a few actions that complement one another; there is a table
    per context, since no arm is good under every link; it begins with what was measured on search
    episodes, counted as `PRIOR` tries; the cost of the last step is worked out from readings.
    """

    PRIOR = 50.0
    BONUS = 0.02
    DWELL_STEPS = 4.0

    def __init__(self, known: Known, arms: Arms) -> None:
        """Prepare the tables."""
        self._known, self._edges = known, arms.edges
        self._actions = np.array(arms.actions, dtype=np.int64)
        self._means = np.array(arms.means)
        self._encoder = ObservationEncoder(observation_fields(known.layout))
        changed = (self._actions[:, None, :] != self._actions).mean(axis=-1)
        self._price = changed * known.objective.switching_weight / self.DWELL_STEPS

    def begin(self, plant: Plant, n: int) -> None:
        """Forget what these boards taught."""
        self._tries = np.full((n, *self._means.shape), self.PRIOR)
        self._sums = self.PRIOR * np.tile(self._means, (n, 1, 1))
        self._context = np.zeros(n, dtype=np.intp)
        self._arm: NDArray[np.intp] | None = None

    def decide(self, observations: Observations) -> Indices:
        """Learn from the last step, then take the arm with the lowest bound."""
        readings = self._encoder.decode(observations)
        boards = np.arange(len(observations))
        price: Floats = np.zeros(1)
        if self._arm is not None:
            self._tries[boards, self._context, self._arm] += 1.0
            self._sums[boards, self._context, self._arm] += seen_cost(self._known, readings)
            price = self._price[self._arm]
        self._context = contexts(readings, self._edges)
        tries = self._tries[boards, self._context]
        bonus = self.BONUS * np.sqrt(np.log(tries.sum(axis=1, keepdims=True)) / tries)
        self._arm = (self._sums[boards, self._context] / tries - bonus + price).argmin(axis=1)
        chosen: Indices = self._actions[self._arm]
        return chosen


def contexts(readings: Readings, edges: dict[str, list[float]]) -> NDArray[np.intp]:
    """Number of the context of each board, shape (n,)."""
    number = np.zeros(len(readings.link_bps), dtype=np.intp)
    for name, n_parts in CONTEXT.items():
        part = np.searchsorted(edges[name], getattr(readings, name), side="right")
        number = number * n_parts + part
    return number


def n_contexts() -> int:
    """How many contexts there are."""
    return int(np.prod(list(CONTEXT.values())))


def seen_cost(known: Known, readings: Readings) -> Floats:
    """Cost of the last step as the readings show it, without switching and accuracy, shape (n,)."""
    none = np.zeros(len(readings.link_bps))
    margin = (readings.latency_target_s / np.maximum(readings.latency_s, 1e-6) - 1.0) / SPREAD
    seen = Outcome(
        energy_j=readings.power_w / readings.arrival_hz,
        latency_s=readings.latency_s,
        in_time=np.clip(0.5 * (margin + 1.0), 0.0, 1.0),
        accuracy=none + 1.0,
        switched=none,
        overheat_c=np.maximum(-readings.temperature_margin_c, 0.0),
        power_w=readings.power_w,
        requests=none,
        uplink_bytes=none,
        fell_back=none,
    )
    return known.objective.cost(seen, readings.eta)

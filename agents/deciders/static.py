"""Deciders that ignore the observation: one fixed action, and random actions."""

from __future__ import annotations

import numpy as np

from agents.deciders.base import axis_sizes
from agents.deciders.rule import Fit, Fitting, RuleKind
from envs.plant import Indices, Plant
from envs.sim.sim_config import SimConfig
from envs.spaces import Observations


class Static:
    """The same action always."""

    def __init__(self, action: tuple[int, ...]) -> None:
        """Remember the indices of the action."""
        self.action = action

    def begin(self, plant: Plant, n: int) -> None:
        """Nothing is remembered between steps."""

    def decide(self, observations: Observations) -> Indices:
        """Repeat the action for every board."""
        return np.tile(np.array(self.action, dtype=np.int64), (len(observations), 1))


class Random:
    """Uniform over all actions; every episode draws the same ones."""

    def __init__(self, seed: int) -> None:
        """Seed the choice."""
        self._seed = seed

    def begin(self, plant: Plant, n: int) -> None:
        """Start over."""
        self._sizes = axis_sizes(plant.layout)
        self._generator = np.random.default_rng(self._seed)

    def decide(self, observations: Observations) -> Indices:
        """Draw actions."""
        return self._generator.integers(0, self._sizes, (len(observations), len(self._sizes)))


def fit_max_clocks(route: int) -> Fitting:
    """Fit `STATIC` to maximum clocks at a fixed route; negative indices count from the end."""

    def fit(world: SimConfig, _seed: int) -> Fit:
        sizes = axis_sizes(world.layout)
        return Fit({"action": [*(size - 1 for size in sizes[:-1]), route % sizes[-1]]})

    return fit


STATIC = RuleKind("static", lambda _known, p: Static(tuple(int(i) for i in p["action"])))
RANDOM = RuleKind(
    "random",
    lambda _known, p: Random(int(p["seed"])),
    lambda _world, seed: Fit({"seed": seed}),
)

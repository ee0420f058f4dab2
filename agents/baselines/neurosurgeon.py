"""Neurosurgeon: the cut with the least predicted latency or energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from agents.baselines.cut_times import CutTimes
from agents.baselines.rollout import mean_cost
from agents.deciders.governor import Routes, routings
from agents.deciders.nominal import NominalModel, faithful_routes
from agents.deciders.rule import Fit, Parameters, Rule, RuleKind
from agents.seeds import N_TRIED, search_seeds
from envs.plant import Readings
from envs.sim.sim_config import SimConfig

Goal = Literal["latency", "energy"]


class Neurosurgeon:
    """Neurosurgeon (Kang et al., ASPLOS 2017), a router.

    Published: per-layer regressions predict latency and power of the mobile device and latency of
    the server; with the present bandwidth and server load, every cut between layers is compared
    and the best for latency, or for mobile energy, is taken. Clocks are not controlled.

    Chosen here: the regressions are the nominal device model; load divides the server's speed;
    mobile energy is the head's at full load plus the radio's while sending; only routes that
    lose at most a point of accuracy are compared; the goal is the one that costs less on search
    episodes.
    """

    def __init__(self, known: NominalModel, goal: Goal) -> None:
        """Profile the network."""
        self._times, self._goal = CutTimes(known), goal
        self._allowed = faithful_routes(known)

    def begin(self, n: int) -> None:
        """Nothing is remembered between steps."""

    def routes(self, readings: Readings) -> Routes:
        """Compare all cuts."""
        criterion = self._times.total_s(readings)
        if self._goal == "energy":
            radio_j = self._times.send_s(readings) * readings.radio_w[:, None]
            criterion = self._times.head_j + radio_j
        chosen: Routes = self._allowed[criterion[:, self._allowed].argmin(axis=1)]
        return chosen


def _fit(kind: RuleKind, world: SimConfig, seed: int) -> Fit:
    """Take the goal that costs less on search episodes."""
    seeds = search_seeds(seed, N_TRIED)
    options: Sequence[Parameters] = [{"goal": "latency"}, {"goal": "energy"}]
    costs = [mean_cost(world, Rule(kind, p).simulated(world), seeds) for p in options]
    best = options[costs.index(min(costs))]
    steps = len(options) * len(seeds) * world.n_steps
    return Fit(best, steps, f"its goal is {best['goal']}")


NEUROSURGEONS = routings(
    "neurosurgeon", lambda known, p: Neurosurgeon(known, p["goal"]), _fit, searched=True
)

"""Placements of the bars' instances, those that end by proof and so do not depend on the time."""

from __future__ import annotations

from itertools import count

import numpy as np

from benchmarks.pinned.differences import Values
from benchmarks.placement.published.cost_model import (
    MB,
    chain_of,
    published_problem,
    random_cluster,
)
from benchmarks.placement.published.instances import FAMILIES
from benchmarks.placement.published.networks import NETWORKS
from partition.placement.plan import Plan
from partition.placement.solver.bisection import solve_throughput
from partition.placement.solver.problem import Problem
from partition.placement.solver.solve import PlacementObjective, solve

_PUBLISHED = "published"
_SMALL, _LARGE = (12, 119), (50, 99)
"""Devices and blocks."""
_N_SEEDS = 2
_PROVED = ("unequal", "slow links", "memory only", "four kinds", _PUBLISHED)
"""Families whose large instance is proved in a second; the others' would end by the clock."""
_SEARCHED = ("unequal", "memory only", "sparse", _PUBLISHED)
"""The same for the shortest latency of small instances."""
_TICKS, _LONG_S = 1_000_000.0, 600.0
"""Never reached, or what is found would depend on it."""


def small_placements() -> Values:
    """Shortest periods over 12 devices, by exhaustive search, and some shortest latencies."""
    values: Values = {}
    for family in (*FAMILIES, _PUBLISHED):
        for seed in range(_N_SEEDS):
            problem = _problem(family, _SMALL, seed)
            throughput = solve(problem, PlacementObjective(time_limit_s=_LONG_S))
            values[f"throughput, {family}, seed {seed}"] = _plan(throughput)
    for family in _SEARCHED:
        latency = solve(
            _problem(family, _SMALL, 0),
            PlacementObjective(objective="latency", time_limit_s=_LONG_S),
        )
        values[f"latency, {family}, seed 0"] = _plan(latency)
    return values


def large_placements() -> Values:
    """Shortest periods over 50 devices, by the searches for many devices.

    Their clock counts how often it is read, so that what they do in between is always the same.
    """
    values: Values = {}
    for family in _PROVED:
        problem = _problem(family, _LARGE, 0)
        ticks = count()
        found = solve_throughput(problem, time_limit_s=_TICKS, clock=ticks.__next__)
        values[f"throughput, {family}, seed 0"] = {
            "proved": found.proved,
            "period_s": found.period_s,
            "stages": [
                f"{i}-{j} class {' '.join(map(str, found.choices.members[choice]))}"
                for choice, i, j in found.steps
            ],
        }
    return values


def _problem(family: str, size: tuple[int, int], seed: int) -> Problem:
    n, n_blocks = size
    rng = np.random.default_rng(seed)
    if family == _PUBLISHED:
        chain = chain_of(NETWORKS["InceptionResNetV2"]())
        return published_problem(chain, random_cluster(n, rng), 64 * MB)
    return FAMILIES[family](n, n_blocks, rng)


def _plan(plan: Plan) -> Values:
    return {
        "bound": plan.bound,
        "period_s": plan.period_s,
        "latency_s": plan.latency_s,
        "stages": [f"{s.start}-{s.end} {' and '.join(s.devices)}" for s in plan.stages],
    }

"""The best fixed setting by coordinate descent, with few measurements."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.baselines.measure import measure
from agents.deciders.base import axis_sizes, top_clocks
from agents.deciders.rule import Fit
from agents.seeds import N_TRIED, search_seeds
from envs.sim.sim_config import SimConfig

MOST_ROUNDS = 5
"""Through all axes; two or three are usual until nothing improves any more."""


def coordinate_descent(world: SimConfig, seeds: NDArray[np.uint64]) -> tuple[tuple[int, ...], int]:
    """Search a fixed action as E4's profiler searches clocks (Zhang et al., AAAI 2025).

    Published (arXiv 2503.04865): CPU and GPU clocks of each layer before an early exit are searched
    one coordinate after the other, just in time. Chosen here: one operating point for all layers,
    as clocks are set once per control step; the memory clock and the route are coordinates, too;
    what is minimised is the cost that everybody is judged by. Begins with maximum clocks on the
    edge, and measures every value of an axis while the others stay.

    Args:
        world: to search in.
        seeds: of the episodes that one measurement consists of.

    Returns:
        The action, and the control steps simulated.
    """
    best = top_clocks(world.layout, 1)[0]
    steps = 0
    for _ in range(MOST_ROUNDS):
        before = best.copy()
        for axis, size in enumerate(axis_sizes(world.layout)):
            tried = np.tile(best, (size, 1))
            tried[:, axis] = np.arange(size)
            series = measure(world, tried, seeds)
            steps += series.n_steps
            best = tried[series.cost.mean(axis=(0, 2)).argmin()]
        if (best == before).all():
            break
    return tuple(int(i) for i in best), steps


def fit(world: SimConfig, seed: int) -> Fit:
    """Search on search episodes."""
    action, steps = coordinate_descent(world, search_seeds(seed, N_TRIED))
    return Fit({"action": list(action)}, steps)

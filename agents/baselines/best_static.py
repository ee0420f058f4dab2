"""The best fixed setting that search finds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.baselines.measure import measure
from agents.deciders.base import axis_sizes, top_clocks
from agents.deciders.oracle import Oracle, cost_table
from agents.deciders.rule import Fit
from agents.deciders.static import Static
from agents.seeds import search_seeds
from envs.arrays import Floats
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.sim_config import SimConfig

N_FINALISTS = 48
RANK_EVERY = 16
"""States are looked at every so many steps while ranking."""


def best_static(world: SimConfig, seeds: NDArray[np.uint64]) -> Static:
    """Search the fixed action with the lowest mean cost over whole episodes.

    All actions are ranked on the states of a board held at maximum clocks, then the best
    `N_FINALISTS` are run through whole episodes, so that queues and heat count.

    Args:
        world: to search in.
        seeds: of the episodes to search on, shape (n,); keep them apart from held-out ones.
    """
    ranking = _rank_on_states(world, seeds)
    best = np.argsort(ranking, axis=None)[:N_FINALISTS]
    finalists = np.stack(np.unravel_index(best, ranking.shape), axis=1).astype(np.int64)
    means = measure(world, finalists, seeds).cost.mean(axis=(0, 2))
    return Static(tuple(int(i) for i in finalists[means.argmin()]))


def search_steps(world: SimConfig, n_seeds: int) -> int:
    """Simulated control steps that `best_static` takes."""
    return (N_FINALISTS + 1) * n_seeds * world.n_steps


def _rank_on_states(world: SimConfig, seeds: NDArray[np.uint64]) -> Floats:
    fleet = BatchedSimulator(world, len(seeds))
    fleet.reset(seeds)
    hold = top_clocks(world.layout, fleet.n)
    total = np.zeros(axis_sizes(world.layout))
    for t in range(world.n_steps):
        if t % RANK_EVERY == 0:
            for start in range(0, len(seeds), Oracle.CHUNK):
                total += cost_table(fleet, slice(start, start + Oracle.CHUNK)).sum(axis=0)
        fleet.step(hold)
    return total


def fit(world: SimConfig, seed: int) -> Fit:
    """Search on search episodes."""
    seeds = search_seeds(seed)
    action = list(best_static(world, seeds).action)
    return Fit({"action": action}, search_steps(world, len(seeds)))

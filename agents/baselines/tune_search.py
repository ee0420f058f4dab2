"""Tuning of the run-time search on search episodes, one setting after the other."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from agents.baselines.model_search import ModelSearch, SearchSettings
from agents.baselines.rollout import mean_cost
from agents.deciders.nominal import NominalModel
from agents.deciders.rule import Fit
from agents.seeds import N_TRIED, search_seeds
from envs.sim.sim_config import SimConfig

CHOICES = {
    "link_share": (0.9,),
    "load_trend": (0.0,),
    "time_margin": (1.0, 1.08),
    "dwell_steps": (4.0,),
}
"""Values tried besides the default of each setting."""


def tune_search(world: SimConfig, seeds: NDArray[np.uint64]) -> tuple[SearchSettings, int]:
    """Keep each change that costs less.

    Args:
        world: to tune in.
        seeds: of the episodes.

    Returns:
        The settings, and the control steps simulated.
    """
    known = NominalModel.of(world)

    def cost(settings: SearchSettings) -> float:
        return mean_cost(world, ModelSearch(known, settings), seeds)

    best = SearchSettings()
    least, n_runs = cost(best), 1
    for name, values in CHOICES.items():
        for value in values:
            tried = replace(best, **{name: value})
            found = cost(tried)
            n_runs += 1
            if found < least:
                best, least = tried, found
    return best, n_runs * len(seeds) * world.n_steps


def fit(world: SimConfig, seed: int) -> Fit:
    """Tune on search episodes."""
    settings, steps = tune_search(world, search_seeds(seed, N_TRIED))
    return Fit(asdict(settings), steps)

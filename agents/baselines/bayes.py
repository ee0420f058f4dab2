"""The best fixed setting by constrained Bayesian optimisation, with few measurements."""

from __future__ import annotations

import warnings

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import GPSampler

from agents.baselines.measure import measure
from agents.deciders.base import axis_sizes
from agents.deciders.rule import Fit
from agents.seeds import N_TRIED, search_seeds
from envs.sim.sim_config import SimConfig

N_TRIALS, N_FEW = 40, 15
"""Measurements; the paper says that about the fewer suffice."""
MOST_STARTUP = 12
"""Drawn at random before the Gaussian process chooses, a third of all at most."""
MAX_MISSED = 0.01
"""Share of late requests that the constraint allows."""


def bayes(
    world: SimConfig, seeds: NDArray[np.uint64], seed: int, n_trials: int = N_TRIALS
) -> tuple[tuple[int, ...], int]:
    """Search a fixed action as PolyThrottle does (Yan et al., 2023, arXiv 2310.19991).

    Published: constrained Bayesian optimisation of energy per query over clocks and batch size
    under a latency constraint, by a Gaussian process with a Matern kernel. Chosen here: the route
    takes the place of the batch size; what is minimised is the cost that everybody is judged by;
    the constraint is a share of late requests of `MAX_MISSED`; edge-only and cloud-only at maximum
    clocks are measured first; in the end the cheapest of all measured settings is taken.

    Args:
        world: to search in.
        seeds: of the episodes that one measurement consists of.
        seed: of the sampler.
        n_trials: measurements.

    Returns:
        The action, and the control steps simulated.
    """
    sizes = axis_sizes(world.layout)
    names = [axis.name for axis in world.layout.axes]
    study = _study(seed, min(MOST_STARTUP, n_trials // 3))
    top = {name: size - 1 for name, size in zip(names, sizes, strict=True)}
    study.enqueue_trial(top)
    study.enqueue_trial(top | {names[-1]: 0})
    costs: dict[tuple[int, ...], float] = {}
    steps = 0
    for _ in range(n_trials):
        trial = study.ask()
        action = tuple(
            trial.suggest_int(name, 0, size - 1) for name, size in zip(names, sizes, strict=True)
        )
        series = measure(world, np.array([action], dtype=np.int64), seeds)
        steps += series.n_steps
        costs[action] = float(series.cost.mean())
        trial.set_constraint("missed", 1.0 - float(series.deadline_hit_rate.mean()) - MAX_MISSED)
        study.tell(trial, costs[action])
    return min(costs, key=lambda action: costs[action]), steps


def _study(seed: int, n_startup: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = GPSampler(seed=seed, n_startup_trials=n_startup)
    return optuna.create_study(sampler=sampler)


def fit(n_trials: int, world: SimConfig, seed: int) -> Fit:
    """Search on search episodes with so many measurements."""
    action, steps = bayes(world, search_seeds(seed, N_TRIED), seed, n_trials)
    return Fit({"action": list(action)}, steps)

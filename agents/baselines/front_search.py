"""DynaSplit's offline phase: a front of fixed actions by NSGA-III over clocks and routes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import NSGAIIISampler

from agents.baselines.measure import Series, measure
from agents.deciders.base import axis_sizes
from agents.deciders.nominal import NominalModel, faithful_routes
from agents.deciders.pareto import undominated
from agents.deciders.rule import Fit
from agents.seeds import N_TRIED, search_seeds
from envs.arrays import Floats
from envs.objective import lost_accuracy
from envs.plant import Indices
from envs.sim.sim_config import SimConfig

SHARE_OF_SPACE = 0.2
"""Of all configurations that are tried, as published."""
MAX_TRIALS = 500
POPULATION = 50
"""Optuna's default, as published."""
N_LINKS = 3
"""Parts into which episodes are cut by link rate, so that each has its own front."""

Objectives = Callable[[Series], Floats]


@dataclass(frozen=True, slots=True)
class Front:
    """Actions of which none beats another, by energy, ascending.

    Attributes:
        actions: shape (k, n_axes).
        latency_s: mean latency as measured, shape (k,).
        energy_j: mean energy per request as measured, shape (k,).
        n_steps: control steps that were simulated.
    """

    actions: Indices
    latency_s: Floats
    energy_j: Floats
    n_steps: int


def published_front(world: SimConfig, seeds: NDArray[np.uint64], seed: int) -> Front:
    """Search as published: each trial measured once, extremes found by chance or not at all.

    Args:
        world: to search in.
        seeds: the first is the episode that a measurement consists of.
        seed: of the sampler.
    """
    actions, n_steps = _search(world, seeds[:1], seed, _overall, start=())
    return _measured(world, actions, seeds[:1], _overall, n_steps)


def seeded_front(world: SimConfig, seeds: NDArray[np.uint64], seed: int) -> Front:
    """Search with the extremes seeded and slow links apart from fast ones, and measure it again.

    Args:
        world: to search in.
        seeds: the first half serves the search, the other to measure again what it found.
        seed: of the sampler.
    """
    half = len(seeds) // 2
    top = np.array(axis_sizes(world.layout), dtype=np.int64) - 1
    cloud_only = np.append(top[:-1], 0)
    actions, n_steps = _search(world, seeds[:half], seed, _by_link, start=(top, cloud_only))
    return _measured(world, actions, seeds[half:], _by_link, n_steps)


def _search(
    world: SimConfig,
    seeds: NDArray[np.uint64],
    seed: int,
    objectives: Objectives,
    start: Sequence[NDArray[np.int64]],
) -> tuple[Indices, int]:
    """Run a study, one generation side by side; the front of all trials, and steps simulated."""
    choices = [list(range(size)) for size in axis_sizes(world.layout)]
    choices[-1] = faithful_routes(NominalModel.of(world)).tolist()
    names = [axis.name for axis in world.layout.axes]
    n_trials = min(math.ceil(SHARE_OF_SPACE * math.prod(map(len, choices))), MAX_TRIALS)
    n_objectives = objectives(measure(world, np.zeros((1, len(names)), int), seeds[:1])).shape[1]
    study = _study(n_objectives, seed)
    for action in start:
        study.enqueue_trial(dict(zip(names, action.tolist(), strict=True)))
    tried: list[Indices] = []
    values: list[Floats] = []
    n_steps = 0
    for first in range(0, n_trials, POPULATION):
        trials = [study.ask() for _ in range(min(POPULATION, n_trials - first))]
        actions = np.array(
            [
                [t.suggest_categorical(n, c) for n, c in zip(names, choices, strict=True)]
                for t in trials
            ],
            dtype=np.int64,
        )
        series = measure(world, actions, seeds)
        n_steps += series.n_steps
        tried.append(actions)
        values.append(objectives(series))
        for trial, row in zip(trials, values[-1], strict=True):
            study.tell(trial, row.tolist())
    return np.concatenate(tried)[undominated(np.concatenate(values))], n_steps


def _study(n_objectives: int, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = NSGAIIISampler(population_size=POPULATION, seed=seed)
    return optuna.create_study(sampler=sampler, directions=["minimize"] * n_objectives)


def _measured(
    world: SimConfig,
    actions: Indices,
    seeds: NDArray[np.uint64],
    objectives: Objectives,
    n_steps: int,
) -> Front:
    """Measure actions and keep those that still are on the front."""
    series = measure(world, actions, seeds)
    latency_s, energy_j, _ = _overall(series).T
    kept = undominated(objectives(series))
    kept = kept[np.argsort(energy_j[kept])]
    return Front(actions[kept], latency_s[kept], energy_j[kept], n_steps + series.n_steps)


def _overall(series: Series) -> Floats:
    """Mean latency, energy per request and lost accuracy, shape (k, 3)."""
    columns = (series.latency_s, series.energy_j, lost_accuracy(series.accuracy))
    return np.stack([column.mean(axis=(0, 2)) for column in columns], axis=1)


def _by_link(series: Series) -> Floats:
    """Latency and energy at slow, middling and fast links, and lost accuracy, shape (k, 7)."""

    def by_action(values: Floats) -> Floats:
        return np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)

    order = by_action(series.link_bps).argsort(axis=1)
    columns = []
    for values in (series.latency_s, series.energy_j):
        ranked = np.take_along_axis(by_action(values), order, axis=1)
        columns += [part.mean(axis=1) for part in np.array_split(ranked, N_LINKS, axis=1)]
    lost = lost_accuracy(by_action(series.accuracy).mean(axis=1))
    return np.stack([*columns, lost], axis=1)


def fit_seeded(world: SimConfig, seed: int) -> Fit:
    """Search on search episodes, both ends of the network among what is tried."""
    front = seeded_front(world, search_seeds(seed, N_TRIED), seed)
    return Fit({"front": front.actions.tolist()}, front.n_steps)


def fit_published(world: SimConfig, seed: int) -> Fit:
    """Search on search episodes, as published."""
    front = published_front(world, search_seeds(seed, N_TRIED), seed)
    parameters = {"front": front.actions.tolist(), "latency_s": front.latency_s.tolist()}
    return Fit(parameters, front.n_steps)

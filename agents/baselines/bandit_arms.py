"""Which arms a bandit gets, and what is known of them before it starts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.advised.portfolio import collect_states, complementary
from agents.baselines.bandit import CONTEXT, Arms, contexts, n_contexts
from agents.deciders.nominal import Known
from envs.arrays import Floats
from envs.plant import Indices
from envs.sim.fleet import Fleet, World

N_ARMS = 16
SHRINKAGE = 10.0
"""Measurements for which an arm's mean over all contexts counts in each of them."""


def learn_arms(world: World, seeds: NDArray[np.uint64]) -> tuple[Arms, int]:
    """Choose arms on collected states and measure each on whole episodes.

    Args:
        world: to learn in.
        seeds: of the episodes.

    Returns:
        The arms, and the control steps simulated.
    """
    known = Known.of(world)
    states = collect_states(world, seeds)
    edges = {
        name: np.quantile(getattr(states, name), np.linspace(0, 1, parts + 1)[1:-1]).tolist()
        for name, parts in CONTEXT.items()
    }
    actions = complementary(known, states, N_ARMS)
    means = np.stack([_means(world, action, seeds, edges) for action in actions], axis=1)
    steps = (len(actions) + 1) * len(seeds) * world.n_steps
    return Arms(actions.tolist(), edges, means.tolist()), steps


def _means(
    world: World, action: Indices, seeds: NDArray[np.uint64], edges: dict[str, list[float]]
) -> Floats:
    """Mean cost of an action in each context, shape (n_contexts,)."""
    fleet, objective = Fleet(world, len(seeds)), world.objective()
    readings = fleet.reset(seeds)
    held = np.tile(action, (fleet.n, 1))
    total, n = np.zeros(n_contexts()), np.zeros(n_contexts())
    for _ in range(world.n_steps):
        context, eta = contexts(readings, edges), readings.eta
        outcome = fleet.step(held)
        np.add.at(total, context, objective.cost(outcome, eta))
        np.add.at(n, context, 1.0)
        readings = fleet.readings()
    means: Floats = (total + SHRINKAGE * total.sum() / n.sum()) / (n + SHRINKAGE)
    return means

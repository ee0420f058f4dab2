"""Which arms a bandit gets, and what is known of them before it starts."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from agents.deciders.bandit import CONTEXT, Arms, contexts, n_contexts
from agents.deciders.base import top_clocks
from agents.deciders.known import Actions, Known
from agents.deciders.nominal import Caution, expect
from agents.deciders.pareto import useful_actions
from envs.fleet import Fleet, World
from envs.plant import Indices, Readings
from envs.signals import Floats

N_ARMS = 16
LOOK_EVERY = 8
"""States are collected every so many steps."""
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
    states = _states(world, seeds)
    edges = {
        name: np.quantile(getattr(states, name), np.linspace(0, 1, parts + 1)[1:-1]).tolist()
        for name, parts in CONTEXT.items()
    }
    actions = _complementary(known, states)
    means = np.stack([_means(world, action, seeds, edges) for action in actions], axis=1)
    steps = (len(actions) + 1) * len(seeds) * world.n_steps
    return Arms(actions.tolist(), edges, means.tolist()), steps


def _states(world: World, seeds: NDArray[np.uint64]) -> Readings:
    """Readings at maximum clocks on the edge, all in one row."""
    fleet = Fleet(world, len(seeds))
    fleet.reset(seeds)
    hold = top_clocks(world.layout, fleet.n)
    collected = []
    for t in range(world.n_steps):
        fleet.step(hold)
        if t % LOOK_EVERY == 0:
            collected.append(fleet.readings())
    columns = (np.concatenate([getattr(r, f.name) for r in collected]) for f in fields(Readings))
    return Readings(*columns)


def _complementary(known: Known, states: Readings) -> Indices:
    """Add, one by one, the action that lowers the mean of every state's best cost the most."""
    candidates = useful_actions(known)
    actions = Actions(known, candidates)
    held = top_clocks(known.layout, len(states.link_bps))
    outcome = replace(expect(known, actions, states, held, Caution()), switched=np.zeros(1))
    costs = known.objective.cost(outcome, states.eta[:, None])
    best = np.full((len(costs), 1), np.inf)
    chosen: list[int] = []
    for _ in range(min(N_ARMS, len(candidates))):
        chosen.append(int(np.minimum(costs, best).mean(axis=0).argmin()))
        best = np.minimum(best, costs[:, chosen[-1:]])
    return candidates[chosen]


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

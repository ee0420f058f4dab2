"""Portfolio of a few complementary actions, together nearly as good as all of them."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from agents.deciders.base import top_clocks
from agents.deciders.nominal import Actions, NominalModel
from agents.deciders.nominal_outcome import SafetyMargin, expect
from agents.deciders.pareto import useful_actions
from envs.plant import Indices, Readings
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.sim_config import SimConfig

PORTFOLIO = 48
"""Actions to choose from: advice on these alone costs within 2 % of a search over all of them
(`tests/agents/deciders/test_advised.py`)."""
LOOK_EVERY = 8
"""States are collected every so many steps."""


def collect_states(world: SimConfig, seeds: NDArray[np.uint64]) -> Readings:
    """Readings at maximum clocks on the edge, one episode per seed, all in one row."""
    fleet = BatchedSimulator(world, len(seeds))
    fleet.reset(seeds)
    hold = top_clocks(world.layout, fleet.n)
    collected = []
    for t in range(world.n_steps):
        fleet.step(hold)
        if t % LOOK_EVERY == 0:
            collected.append(fleet.readings())
    columns = (np.concatenate([getattr(r, f.name) for r in collected]) for f in fields(Readings))
    return Readings(*columns)


def complementary(known: NominalModel, states: Readings, n_actions: int) -> Indices:
    """Add, one by one, the action that lowers the mean of every state's best cost the most.

    Costs are those that the nominal models expect. The greedy choice is within 1 - 1/e of the
    best gain of any such set (Nemhauser et al. 1978).

    Returns:
        Shape (k, n_axes), k at most `n_actions`; fewer if no other is ever expected to be better.
    """
    candidates = useful_actions(known)
    actions = Actions(known, candidates)
    held = top_clocks(known.layout, len(states.link_bps))
    outcome = replace(expect(known, actions, states, held, SafetyMargin()), switched=np.zeros(1))
    costs = known.objective.cost(outcome, states.eta[:, None])
    best = np.full((len(costs), 1), np.inf)
    chosen: list[int] = []
    for _ in range(n_actions):
        after = np.minimum(costs, best).mean(axis=0)
        if not after.min() < best.mean():
            break
        chosen.append(int(after.argmin()))
        best = np.minimum(best, costs[:, chosen[-1:]])
    return candidates[chosen]

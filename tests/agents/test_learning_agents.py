"""Every learner finds the known optimum of a world where nothing changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.deciders.oracle import Oracle
from agents.evaluation.episodes import run_episodes
from agents.learners.algorithm import linear_to_zero
from agents.learners.imitation import ImitationConfig
from agents.seeds import held_out_seeds
from agents.training.algorithms import ALGORITHMS
from agents.training.learn import simulated_decider, train

ON_POLICY = {"learning_rate": linear_to_zero(6e-3), "n_steps": 10, "batch_size": 160}
OFF_POLICY = {"learning_rate": linear_to_zero(3e-3), "learning_starts": 500, "batch_size": 128}
STEPS = 16_000
FIXED_CLOCKS = ("drldo",)
"""Learners that cannot reach the optimum, as they choose the CPU's clock and edge or cloud only."""


def quick(name: str):
    recipe = ALGORITHMS[name]
    is_off_policy = "buffer_size" in recipe.settings
    return replace(
        recipe,
        n_envs=16 if is_off_policy else 32,
        settings=recipe.settings | (OFF_POLICY if is_off_policy else ON_POLICY),
        lessons=recipe.lessons
        and ImitationConfig(n_rounds=2, n_boards=8, look_every=8, batch_size=64),
    )


def mean_cost(world, decider) -> float:
    return float(run_episodes(world, decider, held_out_seeds(0, 8)).cost.mean())


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name not in FIXED_CLOCKS])
def test_the_optimum_is_found_where_nothing_changes(calm, monkeypatch, name):
    monkeypatch.setitem(ALGORITHMS, name, quick(name))
    policy = train(name, calm, 0, total_timesteps=STEPS).policy
    found = mean_cost(calm, simulated_decider(policy, calm))
    assert found < 1.08 * mean_cost(calm, Oracle())


def test_drldo_finds_the_best_of_what_it_may_choose(calm, monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "drldo", quick("drldo"))
    trained = train("drldo", calm, 0, total_timesteps=STEPS // 2)
    metadata = trained.policy.metadata
    costs = [
        mean_cost(calm, simulated_decider(only(trained.policy, row), calm))
        for row in range(len(metadata.table))
    ]
    assert mean_cost(calm, simulated_decider(trained.policy, calm)) < 1.05 * min(costs)


def only(policy, row: int):
    """The policy, but always with one row of its table."""
    weights = [(0.0 * weight, 0.0 * bias) for weight, bias in policy.weights]
    weights[-1][1][row] = 1.0
    return type(policy)(policy.metadata, weights)

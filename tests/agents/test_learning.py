from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from agents.deciders.oracle import Oracle
from agents.deciders.static import Random
from agents.errors import AgentError
from agents.evaluation.episodes import run_episodes
from agents.learners.algorithm import linear_to_zero
from agents.seeds import held_out_seeds
from agents.training.algorithms import ALGORITHMS, algorithm
from agents.training.learn import train

N_BOARDS = 32
QUICK = {
    "learning_rate": linear_to_zero(6e-3),
    "n_steps": 10,
    "batch_size": 160,
    "policy_kwargs": {"net_arch": [32], "activation_fn": nn.ReLU},
}


def trained(world, seed: int, steps: int):
    """A policy from a few thousand steps of what `train.py` does."""
    recipe = ALGORITHMS["ppo"]
    quick = replace(recipe, n_envs=N_BOARDS, settings=recipe.settings | QUICK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ALGORITHMS, "ppo", quick)
        return train("ppo", world, seed, total_timesteps=steps).policy


def costs(world, deciders) -> list[float]:
    seeds = held_out_seeds(0, 16)
    return [float(run_episodes(world, decider, seeds).cost.mean()) for decider in deciders]


def test_learning_goes_most_of_the_way_from_random_to_the_oracle(small_world):
    policy = trained(small_world, 0, 24_000)
    rivals = (Random(0), Oracle())
    learned, random, oracle = costs(small_world, [policy, *rivals])
    assert (random - learned) / (random - oracle) > 0.8


def test_learning_finds_the_known_optimum_where_nothing_changes(calm):
    policy = trained(calm, 0, 24_000)
    learned, oracle = costs(calm, [policy, Oracle()])
    assert learned < 1.05 * oracle


def test_same_seed_learns_the_same_weights_and_another_seed_others(calm):
    first, again, other = (trained(calm, seed, 640) for seed in (1, 1, 2))
    for mine, same, different in zip(first.weights, again.weights, other.weights, strict=True):
        np.testing.assert_array_equal(mine[0], same[0])
        np.testing.assert_array_equal(mine[1], same[1])
        assert not np.array_equal(mine[0], different[0])


def test_building_twice_leaves_the_settings_alone(small_world):
    recipe = ALGORITHMS["ppo"]
    before = repr(recipe.settings)
    for _ in range(2):
        recipe.build(replace(recipe, n_envs=120).boards(small_world), 0, None)
    assert repr(recipe.settings) == before


def test_unknown_algorithm_is_refused_with_those_there_are():
    with pytest.raises(AgentError, match=r"unknown algorithm 'a2c'.*ppo.*sac"):
        algorithm("a2c")

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from agents.deciders.base import axis_sizes
from agents.deciders.oracle import Oracle, cost_table
from agents.learners.imitation import Imitation, ImitationConfig, soft_labels
from agents.learning.categoricals import Categoricals
from envs.sim.batched_simulator import BatchedSimulator
from envs.spaces import ObservationEncoder, observation_fields

QUICK = ImitationConfig(n_rounds=2, n_boards=16, look_every=4, n_epochs=30, batch_size=64)


@pytest.fixture
def fleet(small_world) -> BatchedSimulator:
    boards = BatchedSimulator(small_world, 6)
    boards.reset(np.arange(6, dtype=np.uint64))
    return boards


def encoded(fleet):
    return ObservationEncoder(observation_fields(fleet.layout)).encode(fleet.readings())


def test_labels_are_marginals_of_the_boltzmann_distribution_over_whole_actions(fleet):
    labels, _ = soft_labels(fleet, encoded(fleet), temperature=0.1)
    sizes = axis_sizes(fleet.layout)
    for board in range(fleet.n):
        weights = cost_table(fleet, slice(board, board + 1))[0] ** (-1.0 / 0.1)
        weights /= weights.sum()
        expected = [
            weights.sum(axis=tuple(k for k in range(len(sizes)) if k != axis))
            for axis in range(len(sizes))
        ]
        np.testing.assert_allclose(labels.choices[board], np.concatenate(expected), atol=1e-4)


def test_the_cheapest_action_is_the_oracles(fleet):
    labels, best = soft_labels(fleet, encoded(fleet), temperature=0.05)
    oracle = Oracle()
    oracle.begin(fleet, fleet.n)
    np.testing.assert_array_equal(best, oracle.decide(encoded(fleet)))
    lowest = cost_table(fleet, slice(0, 6)).reshape(6, -1).min(axis=1)
    np.testing.assert_allclose(labels.values, -np.log(lowest), rtol=1e-5)


def taught(world, seed: int = 0):
    sizes = axis_sizes(world.layout)
    n_fields = len(observation_fields(world.layout))
    torch.manual_seed(seed)
    policy = nn.Sequential(nn.Linear(n_fields, 32), nn.ReLU(), nn.Linear(32, sum(sizes)))
    value = nn.Linear(n_fields, 1)
    steps = Imitation(world, policy, value, seed, QUICK).run()
    assert steps == 2 * 16 * world.n_steps
    return policy, Categoricals(sizes)


def test_imitation_finds_the_optimum_where_nothing_changes(calm):
    policy, choices = taught(calm)
    fleet = BatchedSimulator(calm, 1)
    fleet.reset(np.array([5], dtype=np.uint64))
    encoder = ObservationEncoder(observation_fields(fleet.layout))
    for _ in range(8):
        observations = torch.from_numpy(encoder.encode(fleet.readings()))
        with torch.no_grad():
            actions = choices.mode(policy(observations)).numpy()
        costs = cost_table(fleet, slice(0, 1))[0]
        fleet.step(actions)
    assert costs[tuple(actions[0])] < 1.03 * costs.min()


def test_the_same_seed_teaches_the_same(calm):
    (first, _), (again, _), (other, _) = (taught(calm, seed) for seed in (1, 1, 2))
    for mine, same in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, same)
    assert not torch.equal(first[0].weight, other[0].weight)

"""Boards that give advice and tell what everything would cost."""

from __future__ import annotations

import numpy as np
import pytest

from agents.advised.policy import REMEMBERED
from agents.advised.vec_env import AdvisedBoards
from agents.learning.log_cost import LogCost
from envs.vec_env import EdgeSplitVecEnv

ACTIONS = np.array([[1, 1, 1, 4], [0, 0, 0, 0], [0, 1, 0, 2]])
N = 3


@pytest.fixture
def boards(swinging) -> EdgeSplitVecEnv:
    return EdgeSplitVecEnv(swinging, N)


@pytest.fixture
def advised(boards) -> AdvisedBoards:
    return AdvisedBoards(LogCost(boards), boards.fleet, ACTIONS)


@pytest.mark.parametrize("action", range(len(ACTIONS)))
def test_what_is_told_is_what_it_costs(advised, action):
    """A switch is charged in full when it is weighed as lasting one step."""
    advised.reset()
    for _ in range(3):
        told = advised.log_costs(1.0)[:, action]
        _, rewards, _, _ = advised.step(np.full(N, action))
        np.testing.assert_allclose(-rewards, told, rtol=1e-4, atol=1e-5)


def test_at_rest_costs_no_more_than_switching(advised):
    advised.reset()
    advised.step(np.zeros(N, dtype=np.int64))
    assert (advised.least_log_cost() <= advised.log_costs(1.0).min(axis=1) + 1e-5).all()


def test_a_switch_weighs_less_the_longer_it_lasts(advised):
    advised.reset()
    short, long = advised.log_costs(1.0), advised.log_costs(8.0)
    assert (long <= short + 1e-6).all()
    assert (long < short).any()


def test_a_new_episode_is_seen_without_memory_of_the_last(swinging, advised):
    advised.reset()
    for _ in range(swinging.n_steps):
        seen, _, dones, _ = advised.step(np.zeros(N, dtype=np.int64))
        assert advised.observation_space.contains(seen[0])
    assert dones.all()
    n_fields = advised.venv.observation_space.shape[0]
    np.testing.assert_array_equal(seen[:, n_fields : n_fields + len(REMEMBERED)], 0.0)
    again = AdvisedBoards(LogCost(advised.venv.venv), advised.venv.venv.fleet, ACTIONS)
    np.testing.assert_array_equal(
        seen[:, n_fields:], again._begin(seen[:, :n_fields])[:, n_fields:]
    )

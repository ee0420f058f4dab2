"""The vectorised twin against the single environment, step for step."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from envs.edge_env import EdgeSplitEnv
from envs.objective import TERMS
from envs.scenarios.scenario import Scenario
from envs.sim.batched_simulator import BatchedSimulator
from envs.vec_env import EdgeSplitVecEnv

N = 5
SEED = 40


@pytest.fixture(scope="module")
def short_world(world):
    scenarios = tuple(Scenario.load(name) for name in ("lte-driving", "server-rush"))
    return replace(world, scenarios=scenarios, n_steps=12)


def singles(world, *, continuous=False):
    envs = [
        EdgeSplitEnv(BatchedSimulator(world, 1), world.objective(), continuous=continuous)
        for _ in range(N)
    ]
    first = np.stack([env.reset(seed=SEED + i)[0] for i, env in enumerate(envs)])
    return envs, first


@pytest.mark.parametrize("continuous", [False, True])
def test_the_twin_equals_the_single_environment_over_two_episodes(short_world, continuous):
    envs, expected = singles(short_world, continuous=continuous)
    vec = EdgeSplitVecEnv(short_world, N, continuous=continuous)
    vec.seed(SEED)
    np.testing.assert_array_equal(vec.reset(), expected)
    vec.action_space.seed(0)
    for step in range(1, 2 * short_world.n_steps + 1):
        actions = np.stack([vec.action_space.sample() for _ in range(N)])
        observations, rewards, dones, infos = vec.step(actions)
        steps = [env.step(action) for env, action in zip(envs, actions, strict=True)]
        expected = np.stack([s[0] for s in steps])
        ends = step % short_world.n_steps == 0
        assert dones.tolist() == [ends] * N == [s[3] for s in steps]
        assert not any(s[2] for s in steps)
        if ends:
            seen = np.stack([info["terminal_observation"] for info in infos])
            np.testing.assert_array_equal(seen, expected)
            expected = np.stack([env.reset()[0] for env in envs])
        np.testing.assert_array_equal(observations, expected)
        np.testing.assert_allclose(rewards, [s[1] for s in steps], rtol=1e-6)
        for board, (*_, info) in enumerate(steps):
            for name in TERMS:
                assert vec.last_terms[name][board] == info["reward_terms"][name]
            for f in fields(vec.last_outcome):
                value = getattr(vec.last_outcome, f.name)[board]
                assert info["outcome"][f.name] == (None if np.isnan(value) else value)


def test_the_end_of_an_episode_is_told_as_sb3_expects(short_world):
    vec = EdgeSplitVecEnv(short_world, N)
    vec.reset()
    total = np.zeros(N)
    for step in range(short_world.n_steps):
        _, rewards, dones, infos = vec.step(np.zeros((N, 4), dtype=np.int64))
        total += rewards
        if step < short_world.n_steps - 1:
            assert not dones.any()
            assert infos == [{}] * N
    assert dones.all()
    for info, reward in zip(infos, total, strict=True):
        assert info["TimeLimit.truncated"] is True
        assert info["episode"]["l"] == short_world.n_steps
        assert info["episode"]["r"] == pytest.approx(reward)


def test_episodes_follow_from_the_seed(short_world):
    def begin(seed):
        vec = EdgeSplitVecEnv(short_world, N)
        vec.seed(seed)
        return vec.reset()

    np.testing.assert_array_equal(begin(1), begin(1))
    assert (begin(1) != begin(2)).any()
    np.testing.assert_array_equal(begin(1)[1:], begin(2)[:-1])


def test_boards_share_their_attributes(short_world):
    vec = EdgeSplitVecEnv(short_world, N)
    assert vec.get_attr("continuous", [0, 2]) == [False, False]
    assert vec.env_is_wrapped(object) == [False] * N
    with pytest.raises(NotImplementedError, match="share their attributes"):
        vec.set_attr("continuous", True)
    with pytest.raises(NotImplementedError, match="no environment of their own"):
        vec.env_method("close")

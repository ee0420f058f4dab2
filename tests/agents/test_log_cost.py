from __future__ import annotations

import numpy as np

from agents.learning.log_cost import LogCost
from envs.objective import SMALLEST_COST
from envs.vec_env import EdgeSplitVecEnv


def test_reward_is_minus_the_logarithm_of_the_cost_and_nothing_else_changes(small_world):
    plain, wrapped = EdgeSplitVecEnv(small_world, 3), LogCost(EdgeSplitVecEnv(small_world, 3))
    np.testing.assert_array_equal(plain.reset(), wrapped.reset())
    generator = np.random.default_rng(0)
    for _ in range(small_world.n_steps):
        actions = generator.integers(0, plain.decoder.sizes, (3, 4))
        expected, seen = plain.step(actions), wrapped.step(actions)
        np.testing.assert_array_equal(seen[0], expected[0])
        np.testing.assert_allclose(seen[1], -np.log(-expected[1]), rtol=1e-6)
        np.testing.assert_array_equal(seen[2], expected[2])
    assert seen[2].all()
    assert seen[3][0]["TimeLimit.truncated"]


def test_reward_stays_finite_at_no_cost(small_world):
    env = LogCost(EdgeSplitVecEnv(small_world, 2))
    env.reset()
    env.venv.step_wait = lambda: (None, np.zeros(2), None, None)
    np.testing.assert_allclose(env.step(np.zeros((2, 4), dtype=int))[1], -np.log(SMALLEST_COST))

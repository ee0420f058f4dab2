from __future__ import annotations

import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.logger import KVWriter, Logger

from agents.learning.board_scalars import BoardMeans, BoardScalars
from envs.edge_env import EdgeSplitEnv
from envs.sim.batched_simulator import BatchedSimulator


@pytest.fixture
def env(small_world) -> EdgeSplitEnv:
    return EdgeSplitEnv(BatchedSimulator(small_world, 1), small_world.objective())


def test_what_is_unknown_counts_for_nothing(env):
    env.reset(seed=0)
    means = BoardMeans()
    powers_w = []
    for accuracy in (None, 0.5):
        *_, info = env.step(env.action_space.sample())
        info["outcome"]["accuracy"] = accuracy
        powers_w.append(info["outcome"]["power_w"])
        means.add(info)
    told = means.take()
    assert told["board/accuracy"] == 0.5
    assert told["board/power_w"] == pytest.approx(sum(powers_w) / 2)
    assert means.take() == {}


class Kept(KVWriter):
    """What a logger wrote, by step."""

    def __init__(self):
        self.steps = []

    def write(self, key_values, key_excluded, step=0):
        if "clocks/cpu_hz" in key_values:
            self.steps.append(step)

    def close(self):
        pass


def test_a_board_is_logged_in_the_course_of_an_episode(env):
    agent, kept = PPO("MlpPolicy", env, n_steps=16, batch_size=16, seed=0), Kept()
    agent.set_logger(Logger(None, [kept]))
    agent.learn(16, callback=BoardScalars(every_steps=5))
    assert kept.steps == [5, 10, 15, 16]

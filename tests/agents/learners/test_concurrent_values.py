"""Values of a small concurrent MDP, in closed form, for both lengths that a transition may have.

One board, one constant state. The action decided at t comes into force at t + t_AS and holds until
the next one does, a period H = 1 later. Action a in force earns r_a per unit of time, discounted by
gamma per period. Rewards of transitions are what was earned during them, discounted to their begin.
"""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.learners.branching import BranchingDQN

GAMMA, T_AS = 0.8, 0.25
EARNS = np.array([0.2, 1.0])


def earned(rate: float, from_s: float, to_s: float) -> float:
    """Integral of rate * gamma**t."""
    return rate * (GAMMA**to_s - GAMMA**from_s) / math.log(GAMMA)


class Concurrent(gymnasium.Env):
    """Shows which action is in force and, of sub-intervals, which part of the period begins.

    With whole periods, a transition runs from one decision to the next one. With sub-intervals, one
    runs from the decision to its coming into force (t_AS) and one from there to the next decision
    (1 - t_AS), during which nothing is decided.
    """

    observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = spaces.MultiDiscrete([2])

    def __init__(self, *, sub_intervals: bool) -> None:
        self._sub_intervals = sub_intervals

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._in_force, self._is_waiting, self._decided = 0, False, 0
        return self._observation(), {}

    def step(self, action):
        chosen = int(action[0])
        if not self._sub_intervals:
            reward = earned(EARNS[self._in_force], 0.0, T_AS) + earned(EARNS[chosen], T_AS, 1.0)
            self._in_force = chosen
            return self._observation(), reward, False, False, {}
        if not self._is_waiting:
            reward, interval = earned(EARNS[self._in_force], 0.0, T_AS), T_AS
            self._in_force = chosen
        else:
            reward, interval = earned(EARNS[self._in_force], 0.0, 1.0 - T_AS), 1.0 - T_AS
        self._is_waiting = not self._is_waiting
        return self._observation(), reward, False, False, {"interval": interval}

    def _observation(self):
        parts = (self._in_force == 0, self._in_force == 1, self._is_waiting)
        return np.array(parts, dtype=np.float32)


FOREVER = earned(EARNS[1], 0.0, 1.0) / (1.0 - GAMMA)
"""Worth of the better action in force for ever."""


def learned(sub_intervals: bool) -> torch.nn.Module:
    env = DummyVecEnv([lambda: Concurrent(sub_intervals=sub_intervals)] * 8)
    torch.set_num_threads(1)
    agent = BranchingDQN(
        "MlpPolicy",
        env,
        seed=0,
        device="cpu",
        learning_rate=3e-3,
        gamma=GAMMA,
        tau=0.05,
        buffer_size=8000,
        batch_size=128,
        learning_starts=200,
        train_freq=1,
        exploration_fraction=1.0,
        exploration_final_eps=0.5,
        policy_kwargs={"net_arch": [32]},
    )
    agent.learn(16_000)
    return agent.policy.q_net


def worth(q_net, in_force: int, is_waiting: bool = False) -> list[float]:
    observation = [[in_force == 0, in_force == 1, is_waiting]]
    with torch.no_grad():
        return q_net(torch.tensor(observation, dtype=torch.float32))[0].tolist()


def after_deciding(in_force: int, chosen: int) -> float:
    """Worth of a decision after which the better action is always decided for."""
    meanwhile = earned(EARNS[in_force], 0.0, T_AS) + earned(EARNS[chosen], T_AS, 1.0)
    following = earned(EARNS[chosen], 0.0, T_AS) + GAMMA**T_AS * FOREVER
    return meanwhile + GAMMA * following


@pytest.mark.parametrize("sub_intervals", [False, True])
def test_values_are_those_of_the_closed_form(sub_intervals):
    q_net = learned(sub_intervals)
    for in_force in (0, 1):
        expected = [after_deciding(in_force, chosen) for chosen in (0, 1)]
        assert worth(q_net, in_force) == pytest.approx(expected, rel=0.04)
    if sub_intervals:
        rest = earned(EARNS[1], 0.0, 1.0 - T_AS) + GAMMA ** (1.0 - T_AS) * FOREVER
        assert worth(q_net, 1, is_waiting=True) == pytest.approx([rest] * 2, rel=0.04)


def test_discounting_whole_periods_like_sub_intervals_would_let_values_drift():
    """The pitfall: with gamma**(t_AS / H) for a whole period the effective discount is near 1."""
    drifted = earned(EARNS[1], 0.0, 1.0) / (1.0 - GAMMA**T_AS)
    assert drifted > 3.0 * FOREVER

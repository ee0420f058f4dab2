"""A wrapper: low, middle or top clocks only, each decision for a second.

python -m examples.own_wrapper
"""

import os
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import MultiDiscrete

import envs  # noqa: F401  # registers the environments

MODEL = os.environ.get("MODEL", "efficientnet-lite0")


class Coarse(gymnasium.ActionWrapper):
    """Three choices of each clock, and every route, held for `HOLD` control steps."""

    HOLD = 4

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self._tops = env.action_space.nvec[:-1] - 1
        self.action_space = MultiDiscrete([*(3 for _ in self._tops), env.action_space.nvec[-1]])

    def step(self, action: Any) -> Any:
        whole = np.append(action[:-1] * self._tops // 2, action[-1])
        steps = [self.env.step(whole) for _ in range(self.HOLD)]
        return steps[-1][0], sum(step[1] for step in steps), *steps[-1][2:]


if __name__ == "__main__":
    env = Coarse(gymnasium.make("EdgeSplitSim-v0", model=MODEL, n_steps=40, render_mode="ansi"))
    env.reset(seed=0)
    returns = [env.step(env.action_space.sample())[1] for _ in range(10)]
    print(f"{env.render()}\nreturn of the episode: {sum(returns):.1f}")

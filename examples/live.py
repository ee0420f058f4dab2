"""SAC and PPO of Stable-Baselines3 on a live board: `python -m examples.live`, two minutes.

A real network under real requests, four steps a second; `board="sim"` models clocks and power,
"emulated" plays an invented machine, "linux" drives its own clocks, and `cloud="HOST:PORT"` adds a
server. TensorBoard (`--logdir results/runs/my-live`) shows clocks, watts, cut and requests in time
meanwhile. So few steps show that everything fits together: docs/deciders.md has what learns.
"""

import os

import gymnasium
import numpy as np
from gymnasium.wrappers import TransformReward
from stable_baselines3 import PPO, SAC

import envs  # noqa: F401  # registers the environments
from agents.learning.board_scalars import BoardScalars

STEPS = int(os.environ.get("STEPS", "240"))
MODEL = os.environ.get("MODEL", "efficientnet-lite0")
OUT = os.environ.get("OUT", "results/runs/my-live")

if __name__ == "__main__":
    for learner, settings in ((SAC, {"learning_starts": 40}), (PPO, {"n_steps": min(STEPS, 64)})):
        env = gymnasium.make("EdgeSplit-v0", board="sim", model=MODEL, continuous=learner is SAC)
        env = TransformReward(env, lambda reward: -np.log(max(-reward, 1e-3)))
        try:
            agent = learner("MlpPolicy", env, gamma=0.0, tensorboard_log=OUT, seed=0, **settings)
            agent.learn(STEPS, callback=BoardScalars()).save(f"{OUT}/{learner.__name__}")
        finally:
            env.close()  # gives the board back as it was
        print(f"{learner.__name__}: {STEPS} steps, saved in {OUT}")

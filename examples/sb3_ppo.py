"""Stable-Baselines3's PPO on one simulated board: `python -m examples.sb3_ppo`, two minutes.

What makes it learn: the logarithm of the cost (one step with a full queue costs as much as a
hundred quiet ones, and drowns them), no look ahead (nearly all of an action's cost falls into its
own step), and several boards, so that a batch holds more than one link.
"""

import os

import gymnasium
import numpy as np
from gymnasium.wrappers import TransformReward
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

import envs  # noqa: F401  # registers the environments
from agents import freeze

STEPS = int(os.environ.get("STEPS", "40000"))
MODEL = os.environ.get("MODEL", "efficientnet-lite0")
OUT = os.environ.get("OUT", "results/runs/my-ppo")


def board() -> gymnasium.Env:
    """A Jetson TX2 on a moving link."""
    env = gymnasium.make("EdgeSplitSim-v0", model=MODEL, scenario="lte-driving")
    return TransformReward(env, lambda reward: -np.log(max(-reward, 1e-3)))


if __name__ == "__main__":
    boards = make_vec_env(board, n_envs=8, seed=0)
    settings = {"n_steps": 128, "batch_size": 256, "gamma": 0.0, "learning_rate": 1e-3}
    PPO("MlpPolicy", boards, ent_coef=0.01, seed=0, **settings).learn(STEPS).save(f"{OUT}.zip")
    freeze.main([f"{OUT}.zip", "--model", MODEL, "--scenario", "lte-driving", "--out", OUT])

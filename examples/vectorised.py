"""Stable-Baselines3 on many boards at once: `python -m examples.vectorised`, a minute.

`EdgeSplitVecEnv` steps all boards in one numpy program, so that a step of 64 costs little more than
one of a single board; statistics of the observations go with the frozen policy.
"""

import os

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from agents import freeze
from agents.learning.log_cost import LogCost
from envs.sim.build import build_sim_config
from envs.vec_env import EdgeSplitVecEnv

STEPS = int(os.environ.get("STEPS", "200000"))
MODEL = os.environ.get("MODEL", "efficientnet-lite0")
OUT = os.environ.get("OUT", "results/runs/my-boards")

if __name__ == "__main__":
    world = build_sim_config("tx2", MODEL, ["lte-driving", "steady-wifi"])
    boards = VecNormalize(LogCost(EdgeSplitVecEnv(world, 64)), norm_reward=False)
    settings = {"n_steps": 10, "batch_size": 640, "n_epochs": 4, "gamma": 0.0}
    model = PPO("MlpPolicy", boards, learning_rate=3e-3, ent_coef=0.01, seed=0, **settings)
    model.learn(STEPS).save(f"{OUT}.zip")
    boards.save(f"{OUT}.pkl")
    where = ["--model", MODEL, "--scenario", "lte-driving", "steady-wifi", "--out", OUT]
    freeze.main([f"{OUT}.zip", "--normalise", f"{OUT}.pkl", *where])

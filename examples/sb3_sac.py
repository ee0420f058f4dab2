"""SAC trained, frozen and deployed, two minutes: `python -m examples.sb3_sac`."""

import os

import gymnasium
import numpy as np
from gymnasium.wrappers import TransformReward
from stable_baselines3 import SAC

import deploy
import envs  # noqa: F401  # registers the environments
from agents import freeze

STEPS = int(os.environ.get("STEPS", "5000"))
MODEL = os.environ.get("MODEL", "efficientnet-lite0")
OUT = os.environ.get("OUT", "results/runs/my-sac")

if __name__ == "__main__":
    where = {"model": MODEL, "scenario": "lte-driving"}
    env = gymnasium.make("EdgeSplitSim-v0", continuous=True, **where)
    env = TransformReward(env, lambda reward: -np.log(max(-reward, 1e-3)))
    settings = {"gamma": 0.0, "learning_rate": 1e-3, "ent_coef": "auto_0.1"}
    model = SAC("MlpPolicy", env, seed=0, **settings).learn(STEPS, progress_bar=True)
    model.save(f"{OUT}.zip")
    freeze.main([f"{OUT}.zip", "--model", MODEL, "--scenario", "lte-driving", "--out", OUT])
    deploy.main(["--run", OUT, "--duration", "5"])

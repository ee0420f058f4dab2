"""A few steps of learning on a live board: `python -m examples.live`, a minute.

A real network under real requests, four steps a second; the board's clocks and power are modelled.
`board="linux"` drives this machine's own, `cloud="HOST:PORT"` adds a server. So few steps show that
everything fits together, not that anything is learned.
"""

import os

import gymnasium
from stable_baselines3 import PPO

import envs  # noqa: F401  # registers the environments
from agents import freeze

STEPS = int(os.environ.get("STEPS", "200"))
MODEL = os.environ.get("MODEL", "efficientnet-lite0")
OUT = os.environ.get("OUT", "results/runs/my-live")

if __name__ == "__main__":
    env = gymnasium.make(
        "EdgeSplit-v0", board="sim", device="tx2", model=MODEL, n_steps=40, render_mode="ansi"
    )
    try:
        model = PPO("MlpPolicy", env, n_steps=20, batch_size=20, gamma=0.0, seed=0)
        model.learn(STEPS).save(f"{OUT}.zip")
        print(env.render())
    finally:
        env.close()  # gives the board back as it was
    freeze.main([f"{OUT}.zip", "--model", MODEL, "--scenario", "steady-wifi", "--out", OUT])

"""An algorithm in plain torch, in one loop: REINFORCE. `python -m examples.plain_torch`."""

import os

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import nn

import envs  # noqa: F401  # registers the environments

STEPS = int(os.environ.get("STEPS", "300"))
MODEL = os.environ.get("MODEL", "efficientnet-lite0")
N_BOARDS = 16

if __name__ == "__main__":
    vector = {"autoreset_mode": AutoresetMode.SAME_STEP}
    where = {"model": MODEL, "scenario": "lte-driving", "vector_kwargs": vector}
    boards = gymnasium.make_vec("EdgeSplitSim-v0", N_BOARDS, "sync", **where)
    sizes = boards.single_action_space.nvec.tolist()
    n_fields = boards.single_observation_space.shape[0]
    network = nn.Sequential(nn.Linear(n_fields, 64), nn.ReLU(), nn.Linear(64, sum(sizes) + 1))
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    seen, _ = boards.reset(seed=0)
    for step in range(STEPS):
        logits, value = network(torch.from_numpy(seen)).split([sum(sizes), 1], dim=1)
        axes = [torch.distributions.Categorical(logits=block) for block in logits.split(sizes, 1)]
        actions = torch.stack([axis.sample() for axis in axes], dim=1)
        seen, reward, _, _, _ = boards.step(actions.numpy())
        log_cost = torch.from_numpy(np.log(np.maximum(-reward, 1e-3))).float()
        log_p = sum(axis.log_prob(a) for axis, a in zip(axes, actions.T, strict=True))
        surprise = log_cost - value[:, 0]
        loss = (log_p * surprise.detach()).mean() + surprise.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % (STEPS // 5 or 1) == 0:
            print(f"step {step * N_BOARDS}: cost {np.mean(-reward):.2f}")

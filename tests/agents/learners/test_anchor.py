from __future__ import annotations

import copy

import torch

from agents.learners.branching import BranchingDQN
from agents.learning.log_cost import LogCost
from envs.vec_env import EdgeSplitVecEnv


def moved(world, *, is_anchored: bool) -> float:
    """How far the advantages are from where they began."""
    env = LogCost(EdgeSplitVecEnv(world, 4))
    settings = {"buffer_size": 400, "batch_size": 32, "learning_starts": 16, "train_freq": 1}
    agent = BranchingDQN("MlpPolicy", env, seed=0, device="cpu", **settings)
    began = copy.deepcopy(agent.policy.q_net)
    agent.anchor = began if is_anchored else None
    agent.learn(2000)
    met = agent.replay_buffer.observations[:50].reshape(-1, agent.observation_space.shape[0])
    observations = torch.from_numpy(met)
    with torch.no_grad():
        difference = agent.policy.q_net.parts(observations)[1] - began.parts(observations)[1]
    return float(difference.square().mean())


def test_an_anchor_holds_the_advantages_where_they_began(small_world):
    assert moved(small_world, is_anchored=True) < 0.5 * moved(small_world, is_anchored=False)

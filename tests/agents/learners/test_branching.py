from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.learners.branching import BranchingDQN, BranchingQNetwork
from agents.learning.log_cost import LogCost
from envs.vec_env import EdgeSplitVecEnv

N_BOARDS = 4
SETTINGS = {"buffer_size": 400, "batch_size": 32, "learning_starts": 16, "train_freq": 1}


@pytest.fixture
def agent(small_world) -> BranchingDQN:
    env = LogCost(EdgeSplitVecEnv(small_world, N_BOARDS))
    return BranchingDQN("MlpPolicy", env, seed=0, device="cpu", **SETTINGS)


def test_every_branch_is_optimised_synchronised_and_saved(agent):
    policy = agent.policy
    optimised = {id(p) for group in policy.optimizer.param_groups for p in group["params"]}
    target = dict(policy.q_net_target.named_parameters())
    saved = policy.state_dict()
    names = [name for name, _ in policy.q_net.named_parameters()]
    assert sum(name.startswith("branches.") for name in names) == 2 * len(agent.choices.sizes)
    for name, parameter in policy.q_net.named_parameters():
        assert id(parameter) in optimised
        assert torch.equal(target[name], parameter)
        assert not target[name].requires_grad
        assert f"q_net.{name}" in saved
        assert f"q_net_target.{name}" in saved


def test_learning_changes_every_parameter_and_the_target_follows(agent):
    before = {name: p.clone() for name, p in agent.policy.state_dict().items()}
    agent.learn(200)
    for name, parameter in agent.policy.state_dict().items():
        if not name.endswith(("seen", "averaging")):
            assert not torch.equal(parameter, before[name]), name


def test_each_branch_has_the_same_mean():
    torch.manual_seed(0)
    q = BranchingQNetwork(3, [2, 5], [8])(torch.randn(7, 3))
    torch.testing.assert_close(q[:, :2].mean(dim=1), q[:, 2:].mean(dim=1))


def test_hidden_entries_change_nothing():
    network = BranchingQNetwork(3, [2, 5], [8], unseen=[1])
    observations = torch.randn(7, 3)
    expected = network(observations)
    observations[:, 1] += 1.0
    torch.testing.assert_close(network(observations), expected)
    observations[:, 2] += 1.0
    assert not torch.allclose(network(observations), expected)


def test_exploration_sets_axes_by_themselves(agent):
    observations = np.zeros((2000, agent.observation_space.shape[0]), dtype=np.float32)
    greedy, _ = agent.predict(observations, deterministic=True)
    assert len(np.unique(greedy, axis=0)) == 1
    agent.exploration_rate = 0.3
    explored, _ = agent.predict(observations)
    changed = (explored != greedy).mean(axis=0)
    sizes = np.array(agent.choices.sizes)
    np.testing.assert_allclose(changed, 0.3 * (1.0 - 1.0 / sizes), atol=0.05)


def test_a_loaded_agent_predicts_the_same_and_learns_on(agent, tmp_path):
    agent.learn(100)
    agent.save(tmp_path / "agent.zip")
    observations = np.random.default_rng(0).normal(size=(50, agent.observation_space.shape[0]))
    observations = observations.astype(np.float32)
    expected, _ = agent.predict(observations, deterministic=True)
    loaded = BranchingDQN.load(tmp_path / "agent.zip", env=agent.env, device="cpu")
    np.testing.assert_array_equal(loaded.predict(observations, deterministic=True)[0], expected)
    loaded.learn(100)

from __future__ import annotations

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer

from agents.learners.fast_ppo import FastPPO
from agents.learning.log_cost import LogCost
from agents.learning.rollout import Minibatch, Rollout
from envs.vec_env import EdgeSplitVecEnv

N_BOARDS, N_STEPS = 8, 6
SETTINGS = {"n_steps": N_STEPS, "batch_size": 24, "n_epochs": 2, "gamma": 0.7, "ent_coef": 0.03}


@pytest.fixture
def agent(small_world) -> FastPPO:
    env = LogCost(EdgeSplitVecEnv(small_world, N_BOARDS))
    return FastPPO("MlpPolicy", env, seed=0, device="cpu", **SETTINGS)


def some_batch(agent, n: int = 32) -> Minibatch:
    torch.manual_seed(3)
    sizes = torch.tensor(agent.action_space.nvec)
    return Minibatch(
        observations=2.0 * torch.rand(n, agent.observation_space.shape[0]) - 1.0,
        actions=(torch.rand(n, len(sizes)) * sizes).long(),
        log_prob=-4.5 + torch.randn(n),
        advantages=torch.randn(n),
        returns=torch.randn(n),
    )


def gradient_as_sb3(agent, batch: Minibatch) -> list[torch.Tensor]:
    """Differentiate the loss of SB3's `PPO.train` by torch."""
    values, log_prob, entropy = agent.policy.evaluate_actions(batch.observations, batch.actions)
    advantages = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std() + 1e-8)
    ratio = (log_prob - batch.log_prob).exp()
    surrogate = torch.min(advantages * ratio, advantages * ratio.clamp(0.8, 1.2)).mean()
    value_loss = torch.nn.functional.mse_loss(batch.returns, values.flatten())
    loss = -surrogate - agent.ent_coef * entropy.mean() + agent.vf_coef * value_loss
    return list(torch.autograd.grad(loss, list(agent.policy.parameters())))


def test_gradient_in_closed_form_is_that_of_the_loss_of_sb3(agent):
    batch = some_batch(agent)
    expected = gradient_as_sb3(agent, batch)
    agent.max_grad_norm = 1e9
    agent._update(batch, 0.2)
    for parameter, gradient in zip(agent.policy.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-6, rtol=1e-4)


def test_advantages_are_those_of_sb3(agent):
    rng = np.random.default_rng(0)
    mine = Rollout(N_STEPS, N_BOARDS, 1, 1)
    theirs = RolloutBuffer(
        N_STEPS, agent.observation_space, agent.action_space, "cpu", 0.9, 0.7, N_BOARDS
    )
    values, rewards = rng.normal(size=(2, N_STEPS, N_BOARDS)).astype(np.float32)
    ended = rng.random((N_STEPS + 1, N_BOARDS)) < 0.3
    theirs.values, theirs.rewards = values.copy(), rewards.copy()
    theirs.episode_starts = ended[:-1].astype(np.float32)
    last = rng.normal(size=N_BOARDS).astype(np.float32)
    theirs.compute_returns_and_advantage(torch.from_numpy(last), ended[-1])
    mine.rewards, mine.ended = torch.from_numpy(rewards), torch.from_numpy(ended[1:]).float()
    mine.estimate(torch.from_numpy(values), torch.from_numpy(last), 0.7, 0.9)
    np.testing.assert_allclose(mine.advantages, theirs.advantages, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mine.returns, theirs.returns, rtol=1e-5, atol=1e-6)


def test_minibatches_hold_every_transition_once(agent):
    rollout = Rollout(N_STEPS, N_BOARDS, 2, 1)
    rollout.returns = torch.arange(N_STEPS * N_BOARDS).view(N_STEPS, N_BOARDS).float()
    seen = torch.cat([batch.returns for batch in rollout.minibatches(20)])
    assert sorted(seen.tolist()) == list(range(N_STEPS * N_BOARDS))
    assert seen.tolist() != sorted(seen.tolist())


def test_what_follows_a_time_limit_is_counted(agent):
    agent.learn(N_BOARDS * N_STEPS)
    last = np.ones((N_BOARDS, agent.observation_space.shape[0]), dtype=np.float32)
    infos = [{"TimeLimit.truncated": i == 2, "terminal_observation": last[i]} for i in range(8)]
    before = agent._rollout.rewards[1].clone()
    with torch.no_grad():
        agent._bootstrap(1, np.ones(N_BOARDS, dtype=bool), infos)
        added = agent._rollout.rewards[1] - before
        worth = agent.policy.predict_values(torch.from_numpy(last[:1]))
    assert added[2] == pytest.approx(0.7 * float(worth), abs=1e-5)
    assert added.count_nonzero() == 1


def test_a_loaded_agent_predicts_the_same_and_learns_on(agent, tmp_path):
    agent.learn(2 * N_BOARDS * N_STEPS)
    agent.save(tmp_path / "agent.zip")
    observations = some_batch(agent).observations.numpy()
    expected, _ = agent.predict(observations, deterministic=True)
    for kind in (FastPPO, PPO):
        loaded = kind.load(tmp_path / "agent.zip", env=agent.env, device="cpu")
        np.testing.assert_array_equal(loaded.predict(observations, deterministic=True)[0], expected)
        loaded.learn(N_BOARDS * N_STEPS)


def test_other_action_spaces_are_refused(small_world):
    env = EdgeSplitVecEnv(small_world, 2, continuous=True)
    with pytest.raises(TypeError, match="MultiDiscrete"):
        FastPPO("MlpPolicy", env, **SETTINGS)

"""Learning from the outcomes of a whole portfolio."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.advised.full_information import FullInformation, Stretch
from agents.advised.vec_env import AdvisedBoards
from agents.baselines.model_search import ModelSearch, SearchSettings
from agents.baselines.rollout import mean_cost
from agents.deciders.nominal import NominalModel
from agents.deployed.run_folder import load_policy
from agents.learners.algorithm import linear_to_zero
from agents.learning.log_cost import LogCost
from agents.learning.tables import TableActions
from agents.seeds import seeds_for
from agents.training.algorithms import ALGORITHMS
from agents.training.learn import simulated_decider, train
from envs.vec_env import EdgeSplitVecEnv

SEEDS = seeds_for(99, 0, 8)
STEPS = 6_400
ACTIONS = np.array([[1, 1, 1, 4], [0, 0, 0, 0], [0, 1, 0, 2]])


@pytest.fixture
def learn(swinging, monkeypatch):
    """Train on few boards."""

    def run(seed=0, total_timesteps=STEPS, **settings):
        recipe = ALGORITHMS["advised"]
        few = replace(recipe, n_envs=32, settings=recipe.settings | {"batch_size": 64} | settings)
        monkeypatch.setitem(ALGORITHMS, "advised", few)
        return train("advised", swinging, seed, total_timesteps=total_timesteps)

    return run


@pytest.fixture
def agent(swinging):
    """An agent on four boards, and what it is asked of."""
    boards = EdgeSplitVecEnv(swinging, 4)
    return FullInformation(
        "MlpPolicy",
        AdvisedBoards(LogCost(boards), boards.fleet, ACTIONS),
        learning_rate=linear_to_zero(1e-3),
        batch_size=16,
        seed=0,
        device="cpu",
    )


def test_learns_what_the_model_leaves_open(swinging, learn):
    """The link's estimate is stale when nothing is sent; a memory tells what to make of it."""
    searched = mean_cost(swinging, ModelSearch(NominalModel.of(swinging), SearchSettings()), SEEDS)
    trained = learn(total_timesteps=5 * STEPS, gamma=0.0, temperature=(0.05, 0.001))
    found = mean_cost(swinging, simulated_decider(trained.policy, swinging), SEEDS)
    assert found < 0.97 * searched


def test_same_seed_same_policy(learn):
    def weights(**settings):
        parameters = learn(**settings).policy.rule.parameters
        return b"".join(np.asarray(array).tobytes() for array in parameters.values())

    first = weights()
    assert weights() == first
    assert weights(seed=1) != first


def test_what_is_saved_decides_the_same(swinging, learn, tmp_path):
    policy = learn().policy
    policy.save(tmp_path)
    both = (simulated_decider(p, swinging) for p in (policy, load_policy(tmp_path)))
    first, again = (mean_cost(swinging, decider, SEEDS) for decider in both)
    assert first == again


def test_begins_with_the_advice(agent):
    inputs = agent.get_env().reset()
    advised = inputs[:, -len(ACTIONS) :].argmin(axis=1)
    chosen, _ = agent.predict(inputs, deterministic=True)
    np.testing.assert_array_equal(chosen, advised)


def test_whatever_asks_the_policy_gets_the_advice_too(agent):
    inputs = torch.from_numpy(agent.get_env().reset())
    expected = agent.policy.scores(inputs).log_softmax(dim=1)
    actions, values, log_p = agent.policy(inputs, deterministic=True)
    assert actions.tolist() == expected.argmax(dim=1).tolist()
    torch.testing.assert_close(log_p, expected.max(dim=1).values)
    again, same_log_p, entropy = agent.policy.evaluate_actions(inputs, actions)
    torch.testing.assert_close((again, same_log_p), (values, log_p))
    torch.testing.assert_close(entropy, -(expected.exp() * expected).sum(dim=1))


def test_a_saved_agent_goes_on(agent, swinging, tmp_path):
    agent.learn(80)
    agent.save(tmp_path / "agent.zip")
    again = FullInformation.load(tmp_path / "agent.zip", env=agent.get_env(), device="cpu")
    assert again.num_timesteps == 80
    inputs = torch.from_numpy(agent.get_env().reset())
    torch.testing.assert_close(again.policy.scores(inputs), agent.policy.scores(inputs))
    again.learn(80, reset_num_timesteps=False)
    assert again.num_timesteps == 160


def test_what_followed_by_hand(agent):
    """Two boards, three steps; the second board's episode ends after the second step."""
    agent.gamma, agent.gae_lambda = 0.5, 0.5
    inputs = torch.zeros(3, 2, agent.observation_space.shape[0])
    value = agent.policy.critic(inputs[0, :1]).item()
    rewards = torch.tensor([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
    ended = torch.tensor([[False, False], [False, True], [False, False]])
    blank = torch.zeros(3, 2)
    found = agent._look_ahead(inputs, blank, blank, blank, rewards, ended)
    last = 0.5 * (4.0 + value) - value
    expected = [
        [0.5 * (2.0 + value + 0.5 * last) - value, 0.5 * (2.0 + value) - value],
        [last, 0.0],
    ]
    expected.append([0.0, 0.0])
    torch.testing.assert_close(found.advantages.view(3, 2), torch.tensor(expected).detach())
    assert found.foresees.view(3, 2).tolist() == [[True, True], [True, False], [False, False]]


@pytest.mark.parametrize(("ahead", "moves"), [(0.0, True), (1.0, False)])
def test_what_has_become_likely_enough_is_not_pushed_further(agent, ahead, moves):
    """Costs alike, so that only a gain in later steps moves the corrections."""
    n = 8
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(n, agent.observation_space.shape[0], generator=generator)
    inputs[:, -len(ACTIONS) :] = 0.0
    chosen = torch.zeros(n, dtype=torch.int64)
    log_p = agent.policy.scores(inputs).log_softmax(dim=1)[:, 0].detach()
    ones = torch.ones(n)
    batch = Stretch(
        inputs, torch.zeros(n, len(ACTIONS)), chosen, log_p - ahead, ones.bool(), ones, ones
    )
    before = [p.clone() for p in agent.policy.actor.parameters()]
    agent._update(batch, 0.0)
    after = agent.policy.actor.parameters()
    changed = any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert changed == moves


def test_boards_that_cannot_be_asked_are_refused(swinging):
    boards = EdgeSplitVecEnv(swinging, 2)
    env = TableActions(boards, ACTIONS)
    agent = FullInformation("MlpPolicy", env, learning_rate=1e-3, batch_size=8, device="cpu")
    with pytest.raises(TypeError, match="TableActions"):
        agent.learn(20)

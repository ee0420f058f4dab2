from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from stable_baselines3 import SAC
from torch import nn

from agents import export
from agents.errors import PolicyError
from agents.export import freeze, set_threads

N_FIELDS = 23


def decisions(agent, policy, observations):
    actions, _ = agent.predict(observations, deterministic=True)
    if isinstance(agent, SAC):
        return policy.decoder.from_box(actions)
    return actions


def test_frozen_policy_decides_as_the_agent(untrained, policy):
    _, agent, _ = untrained
    observations = np.random.default_rng(5).uniform(-1, 1, (2000, N_FIELDS)).astype(np.float32)
    expected = decisions(agent, policy, observations)
    assert len(np.unique(expected, axis=0)) > 1
    single = np.stack([policy.decide(o).copy() for o in observations])
    for decided in (single, policy.decide_batch(observations)):
        assert (decided == expected).all(axis=1).mean() > 0.99


def test_metadata_tells_where_the_policy_belongs(untrained, policy):
    name, _, layout = untrained
    assert policy.metadata.algorithm == name
    assert policy.metadata.layout == layout
    assert policy.metadata.head == ("box" if name == "sac" else "categorical")


def test_frozen_weights_do_not_follow_the_agent(untrained):
    name, agent, layout = untrained
    policy = freeze(agent, name, layout)
    before = [(weight.copy(), bias.copy()) for weight, bias in policy.weights]
    saved = copy.deepcopy(agent.policy.state_dict())
    with torch.no_grad():
        for parameter in agent.policy.parameters():
            parameter.add_(1.0)
    try:
        for found, expected in zip(policy.weights, before, strict=True):
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])
    finally:
        agent.policy.load_state_dict(saved)


def test_freezing_refuses_a_policy_that_decides_otherwise(untrained, monkeypatch):
    name, agent, layout = untrained
    extract = export._layers

    def tampered(modules):
        weights, activation = extract(modules)
        weights[0][0][0, 0] += 0.5
        return weights, activation

    monkeypatch.setattr(export, "_layers", tampered)
    with pytest.raises(PolicyError, match="decides otherwise than the agent"):
        freeze(agent, name, layout)


def test_freezing_passes_over_ties_only(untrained, policy):
    """A score that beats another by rounding only may be ranked either way."""
    _, agent, _ = untrained
    observations = np.random.default_rng(6).uniform(-1, 1, (50, N_FIELDS)).astype(np.float32)
    decided = policy.decide_batch(observations)
    assert export._all_ties(agent, observations, decided, policy.decoder)
    other = (decided + 1) % policy.decoder.sizes
    assert not export._all_ties(agent, observations, other, policy.decoder)


def test_freezing_refuses_what_is_no_plain_network():
    with pytest.raises(PolicyError, match="cannot freeze a LayerNorm"):
        export._layers([nn.Linear(2, 2), nn.LayerNorm(2)])
    with pytest.raises(PolicyError, match=r"relu.*tanh"):
        export._layers([nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2), nn.ReLU()])


def test_training_takes_one_thread():
    set_threads()
    assert torch.get_num_threads() == 1

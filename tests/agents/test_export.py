from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from agents.errors import PolicyError
from agents.learning import export
from agents.learning.agent_decider import AgentDecider
from agents.learning.export import freeze, set_threads
from agents.training.algorithms import ALGORITHMS

N_FIELDS = 23


def observations_like(policy, seed: int, n: int) -> np.ndarray:
    shape = (n, len(policy.metadata.fields))
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def test_frozen_policy_decides_as_the_agent(untrained, policy):
    observations = observations_like(policy, 5, 2000)
    expected = AgentDecider(*untrained).decide(observations)
    assert len(np.unique(expected, axis=0)) > 1
    single = np.concatenate([policy.decide(o[None]) for o in observations])
    for decided in (single, policy.decide(observations)):
        assert (decided == expected).all(axis=1).mean() > 0.99


def test_frozen_weights_do_not_follow_the_agent(untrained):
    agent, metadata = untrained
    policy = ALGORITHMS[metadata.algorithm].freeze(agent, metadata)
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


def test_freezing_refuses_a_policy_that_decides_otherwise(untrained, policy):
    layers = [(weight.copy(), bias) for weight, bias in policy.weights]
    layers[0][0][:, 0] += 5.0
    with pytest.raises(PolicyError, match="decides otherwise than the agent"):
        freeze(*untrained, layers, "relu")


def test_freezing_passes_over_ties_only(untrained, policy):
    """A score that beats another by rounding only may be ranked either way."""
    agent = AgentDecider(*untrained)
    observations = observations_like(policy, 6, 50)
    decided = policy.decide(observations)
    assert export._all_ties(agent, observations, decided)
    other = (decided + 1) % policy.decoder.sizes
    assert not export._all_ties(agent, observations, other)


def test_freezing_refuses_another_activation(untrained):
    agent, metadata = untrained
    with pytest.raises(PolicyError, match=r"relu.*tanh"):
        ALGORITHMS[metadata.algorithm].freeze(agent, replace(metadata, activation="tanh"))


def test_freezing_refuses_what_is_no_plain_network():
    with pytest.raises(PolicyError, match="cannot freeze a LayerNorm"):
        export.read_layers([nn.Linear(2, 2), nn.LayerNorm(2)])
    with pytest.raises(PolicyError, match=r"relu.*tanh"):
        export.read_layers([nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2), nn.ReLU()])


def test_training_takes_one_thread():
    set_threads()
    assert torch.get_num_threads() == 1

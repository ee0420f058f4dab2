"""Freeze a trained SB3 agent into a `FrozenPolicy`, and refuse if the two do not agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from agents.errors import PolicyError
from agents.learners.branching import BranchingDQN, BranchingQNetwork
from agents.learners.sac_discrete import SACDiscrete
from agents.policy.frozen import FrozenPolicy, PolicyMetadata, Weights
from agents.training.agent_decider import AgentDecider

N_PARITY = 4096
N_NUDGES = 64
TIE = 1e-4
"""Observations closer than this to an edge between two choices may fall on either side of it."""


def freeze(agent: BaseAlgorithm, metadata: PolicyMetadata) -> FrozenPolicy:
    """Export the deterministic policy of an agent.

    Args:
        agent: trained.
        metadata: of the policy to be.

    Raises:
        PolicyError: its network is not a plain multi-layer perceptron, or the frozen policy
            decides otherwise than the agent.
    """
    weights, activation = _layers(_modules(agent))
    if activation != metadata.activation:
        raise PolicyError(f"the network has {activation}, the metadata say {metadata.activation}")
    if isinstance(agent, BranchingDQN):
        weights = _as_perceptron(agent.policy.q_net, weights)
    policy = FrozenPolicy(metadata, weights)
    _check_parity(AgentDecider(agent, metadata), policy)
    return policy


def _modules(agent: BaseAlgorithm) -> list[nn.Module]:
    """Layers from the observation to what the decision rests on."""
    policy: Any = agent.policy
    if isinstance(agent, SAC):
        return [*policy.actor.latent_pi, policy.actor.mu]
    if isinstance(agent, DQN):
        return [*policy.q_net.q_net]
    if isinstance(agent, SACDiscrete):
        return [*policy.actor]
    if isinstance(agent, BranchingDQN):
        return [*policy.q_net.trunk]
    return [*policy.mlp_extractor.policy_net, policy.action_net]


def _as_perceptron(network: BranchingQNetwork, trunk: Weights) -> Weights:
    """Put the branches side by side; the state's value shifts all choices of an axis alike."""
    first, *others = trunk
    seen: NDArray[np.float32] = network.seen.detach().numpy()
    layers = [branch for branch in network.branches if isinstance(branch, nn.Linear)]
    branches = [[p.detach().numpy() for p in (b.weight, b.bias)] for b in layers]
    last = tuple(np.concatenate(parts) for parts in zip(*branches, strict=True))
    return [(first[0] * seen, first[1]), *others, (last[0], last[1])]


def _layers(modules: list[nn.Module]) -> tuple[Weights, str]:
    weights: Weights = []
    activations = set()
    for module in modules:
        if isinstance(module, nn.Linear):
            weight, bias = (t.detach().cpu().numpy().copy() for t in (module.weight, module.bias))
            weights.append((weight, bias))
        elif isinstance(module, nn.Tanh | nn.ReLU):
            activations.add("tanh" if isinstance(module, nn.Tanh) else "relu")
        else:
            raise PolicyError(f"cannot freeze a {type(module).__name__}; use linear layers only")
    if len(activations) != 1:
        raise PolicyError(f"cannot freeze activations {sorted(activations)}; use one of them")
    return weights, activations.pop()


def _check_parity(agent: AgentDecider, policy: FrozenPolicy) -> None:
    generator = np.random.default_rng(0)
    shape = (N_PARITY, len(policy.metadata.fields))
    observations = generator.uniform(-1.0, 1.0, shape).astype(np.float32)
    expected = agent.decide(observations)
    decided = np.stack([policy.decide(o).copy() for o in observations])
    differ = (decided != expected).any(axis=1)
    if differ.any() and not _all_ties(agent, observations[differ], decided[differ]):
        raise PolicyError(
            f"the frozen policy decides otherwise than the agent in {int(differ.sum())} of "
            f"{N_PARITY} cases; this is a bug, please report it"
        )


def _all_ties(
    agent: AgentDecider, observations: NDArray[np.float32], decided: NDArray[np.int64]
) -> bool:
    """Tell whether the agent itself decides as the frozen policy right beside each observation."""
    generator = np.random.default_rng(1)
    found = np.zeros(decided.shape, dtype=bool)
    for _ in range(N_NUDGES):
        nudged = observations + generator.uniform(-TIE, TIE, observations.shape)
        found |= agent.decide(nudged.astype(np.float32)) == decided
    return bool(found.all())


def set_threads() -> None:
    """One torch thread: small networks run faster so, and results do not depend on the machine."""
    torch.set_num_threads(1)

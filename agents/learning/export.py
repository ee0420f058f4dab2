"""Export of a trained SB3 agent to a `FrozenPolicy`, refused if the two do not agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.errors import PolicyError
from agents.learning.agent_decider import AgentDecider, Predictor
from agents.policy.frozen import FrozenPolicy
from agents.policy.layers import Layers
from agents.policy.metadata import PolicyMetadata
from agents.policy.normaliser import Normaliser

N_PARITY = 4096
N_NUDGES = 64
TIE = 1e-4
"""Observations closer than this to an edge between two choices may fall on either side of it."""


def freeze(
    agent: Predictor,
    metadata: PolicyMetadata,
    layers: Layers,
    activation: str,
    normaliser: Normaliser | None = None,
) -> FrozenPolicy:
    """Export the deterministic policy of an agent.

    Args:
        agent: trained.
        metadata: of the policy to be.
        layers: from the observation to what the head reads.
        activation: between them.
        normaliser: of observations before them.

    Raises:
        PolicyError: another activation than in the metadata, or the frozen policy decides
            otherwise than the agent.
    """
    if activation != metadata.activation:
        raise PolicyError(f"the network has {activation}, the metadata say {metadata.activation}")
    policy = FrozenPolicy(metadata, layers, normaliser)
    _check_parity(AgentDecider(agent, metadata), policy)
    return policy


def read_layers(modules: Sequence[nn.Module]) -> tuple[Layers, str]:
    """Layers of a multi-layer perceptron, and the activation between them.

    Raises:
        PolicyError: it is no plain one.
    """
    layers: Layers = []
    activations = set()
    for module in modules:
        if isinstance(module, nn.Linear):
            weight, bias = (t.detach().cpu().numpy().copy() for t in (module.weight, module.bias))
            layers.append((weight, bias))
        elif isinstance(module, nn.Tanh | nn.ReLU):
            activations.add("tanh" if isinstance(module, nn.Tanh) else "relu")
        else:
            raise PolicyError(
                f"cannot freeze a {type(module).__name__}; use linear layers with ReLU or tanh "
                f"between them only"
            )
    if len(activations) > 1:
        raise PolicyError(f"cannot freeze activations {sorted(activations)}; use one of them")
    return layers, activations.pop() if activations else "relu"  # a single layer has none after it


def _check_parity(agent: AgentDecider, policy: FrozenPolicy) -> None:
    generator = np.random.default_rng(0)
    shape = (N_PARITY, len(policy.metadata.fields))
    observations = generator.uniform(-1.0, 1.0, shape).astype(np.float32)
    expected = agent.decide(observations)
    decided = np.concatenate([policy.decide(o[None]) for o in observations])
    differ = (decided != expected).any(axis=1)
    if differ.any() and not _all_ties(agent, observations[differ], decided[differ]):
        raise PolicyError(
            f"the frozen policy decides otherwise than the agent in {int(differ.sum())} of "
            f"{N_PARITY} cases; this is a bug, please report it"
        )


def _all_ties(
    agent: AgentDecider, observations: NDArray[np.float32], decided: NDArray[np.int64]
) -> bool:
    """Return whether agent and frozen policy decide alike right next to each observation."""
    generator = np.random.default_rng(1)
    found = np.zeros(decided.shape, dtype=bool)
    for _ in range(N_NUDGES):
        nudged = observations + generator.uniform(-TIE, TIE, observations.shape)
        found |= agent.decide(nudged.astype(np.float32)) == decided
    return bool(found.all())


def set_threads() -> None:
    """One torch thread: small networks run faster so, and results do not depend on the machine."""
    torch.set_num_threads(1)

"""Freeze a trained SB3 agent into a `FrozenPolicy`, and refuse if the two do not agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from agents.errors import PolicyError
from agents.policy import FrozenPolicy, PolicyMetadata, Weights
from envs.plant import Layout
from envs.spaces import ActionDecoder, observation_fields

N_PARITY = 4096
N_NUDGES = 64
TIE = 1e-4
"""Observations closer than this to an edge between two choices may fall on either side of it."""


def freeze(agent: BaseAlgorithm, algorithm: str, layout: Layout) -> FrozenPolicy:
    """Export the deterministic policy of an agent.

    Args:
        agent: trained PPO or SAC.
        algorithm: its name, kept in the metadata.
        layout: of the plant it was trained on.

    Raises:
        PolicyError: its network is not a plain multi-layer perceptron, or the frozen policy
            decides otherwise than the agent.
    """
    modules = _sac_modules(agent) if isinstance(agent, SAC) else _ppo_modules(agent)
    weights, activation = _layers(modules)
    metadata = PolicyMetadata(
        algorithm=algorithm,
        layout=layout,
        fields=observation_fields(layout),
        activation=activation,
        head="box" if isinstance(agent, SAC) else "categorical",
    )
    policy = FrozenPolicy(metadata, weights)
    _check_parity(agent, policy)
    return policy


def _ppo_modules(agent: BaseAlgorithm) -> list[nn.Module]:
    policy: Any = agent.policy
    return [*policy.mlp_extractor.policy_net, policy.action_net]


def _sac_modules(agent: BaseAlgorithm) -> list[nn.Module]:
    actor: Any = agent.policy.actor
    return [*actor.latent_pi, actor.mu]


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


def _check_parity(agent: BaseAlgorithm, policy: FrozenPolicy) -> None:
    generator = np.random.default_rng(0)
    shape = (N_PARITY, len(policy.metadata.fields))
    observations = generator.uniform(-1.0, 1.0, shape).astype(np.float32)
    expected = _agent_decisions(agent, observations, policy.decoder)
    decided = np.stack([policy.decide(o).copy() for o in observations])
    differ = (decided != expected).any(axis=1)
    if differ.any() and not _all_ties(agent, observations[differ], decided[differ], policy.decoder):
        raise PolicyError(
            f"the frozen policy decides otherwise than the agent in {int(differ.sum())} of "
            f"{N_PARITY} cases; this is a bug, please report it"
        )


def _agent_decisions(
    agent: BaseAlgorithm, observations: NDArray[np.float32], decoder: ActionDecoder
) -> NDArray[np.int64]:
    actions, _ = agent.predict(observations, deterministic=True)
    return decoder.from_box(actions) if isinstance(agent, SAC) else decoder.from_indices(actions)


def _all_ties(
    agent: BaseAlgorithm,
    observations: NDArray[np.float32],
    decided: NDArray[np.int64],
    decoder: ActionDecoder,
) -> bool:
    """Tell whether the agent itself decides as the frozen policy right beside each observation."""
    generator = np.random.default_rng(1)
    found = np.zeros(decided.shape, dtype=bool)
    for _ in range(N_NUDGES):
        nudged = observations + generator.uniform(-TIE, TIE, observations.shape)
        found |= _agent_decisions(agent, nudged.astype(np.float32), decoder) == decided
    return bool(found.all())


def set_threads() -> None:
    """One torch thread: small networks run faster so, and results do not depend on the machine."""
    torch.set_num_threads(1)

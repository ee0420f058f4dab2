"""Adapter that lets an agent of Stable-Baselines3 decide before it is frozen."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.policy.heads import head_of
from agents.policy.metadata import PolicyMetadata
from envs.plant import Indices, Plant
from envs.spaces import Observations


class Predictor(Protocol):
    """Agent or policy of Stable-Baselines3, as far as it decides."""

    def predict(self, observation: NDArray[np.float32], *, deterministic: bool) -> tuple[Any, Any]:
        """Choose an action per row, and return a state that plain networks do not have."""


class AgentDecider:
    """Decides without exploring, as the frozen policy will."""

    def __init__(self, agent: Predictor, metadata: PolicyMetadata) -> None:
        """Wrap `agent`, whose outputs mean what `metadata` says."""
        self._agent, self._head = agent, head_of(metadata)

    def begin(self, plant: Plant, n: int) -> None:
        """Nothing is remembered between steps."""

    def decide(self, observations: Observations) -> Indices:
        """Predict."""
        actions, _ = self._agent.predict(observations, deterministic=True)
        return self._head.from_agent(actions)

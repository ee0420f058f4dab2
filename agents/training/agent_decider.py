"""An agent of Stable-Baselines3 as a decider, before it is frozen."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.policy.frozen import PolicyMetadata
from envs.plant import Indices, Plant
from envs.spaces import ActionDecoder, Observations


class AgentDecider:
    """Decides without exploring, as the frozen policy will."""

    def __init__(self, agent: BaseAlgorithm, metadata: PolicyMetadata) -> None:
        """Wrap `agent`, whose outputs mean what `metadata` says."""
        self._agent, self._metadata = agent, metadata
        self._decoder = ActionDecoder(metadata.layout.axes)
        self._table = np.array(metadata.table, dtype=np.int64)

    def begin(self, plant: Plant, n: int) -> None:
        """Nothing is remembered between steps."""

    def decide(self, observations: Observations) -> Indices:
        """Predict."""
        actions, _ = self._agent.predict(observations, deterministic=True)
        if self._metadata.head == "box":
            return self._decoder.from_box(actions)
        if self._metadata.head == "table":
            listed: Indices = self._table[actions]
            return listed
        return self._decoder.from_indices(actions)

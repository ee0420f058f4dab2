"""A learned policy in its frozen form."""

from __future__ import annotations

from agents.policy.frozen import FrozenPolicy
from envs.plant import Indices, Plant
from envs.spaces import Observations


class Learned:
    """A frozen policy; sees the observation and nothing else."""

    def __init__(self, policy: FrozenPolicy) -> None:
        """Wrap `policy`."""
        self._policy = policy

    def begin(self, plant: Plant, n: int) -> None:
        """Nothing is remembered between steps."""

    def decide(self, observations: Observations) -> Indices:
        """Evaluate the policy."""
        return self._policy.decide_batch(observations)

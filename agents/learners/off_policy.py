"""Common parts of off-policy learners of factored actions: `MultiDiscrete`, many boards."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch import nn

from agents.learners.algorithm import linear_to_zero
from agents.learning.categoricals import Categoricals
from agents.learning.transitions import TransitionBuffer

SETTINGS: dict[str, Any] = {
    "learning_rate": linear_to_zero(2e-3),
    "buffer_size": 40_000,
    "learning_starts": 5_000,
    "batch_size": 256,
    "gamma": 0.0,
    "tau": 0.02,
    "train_freq": 1,
    "policy_kwargs": {"net_arch": [64, 64]},
}
"""Of all that have a replay buffer: many boards fill it and small networks learn from it often,
since what counts in half a minute is the number of updates."""


class FactoredOffPolicy(OffPolicyAlgorithm):
    """Off-policy learning with one categorical choice per axis.

    Attributes:
        choices: the axes.
    """

    choices: Categoricals

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        *,
        learning_rate: Any = 1e-3,
        **settings: Any,
    ) -> None:
        """See `OffPolicyAlgorithm`."""
        super().__init__(
            policy,
            env,
            learning_rate,
            sde_support=False,
            supported_action_spaces=(spaces.MultiDiscrete,),
            support_multi_env=True,
            **settings,
        )

    def _setup_model(self) -> None:
        self.replay_buffer_class = TransitionBuffer
        self.replay_buffer_kwargs = {"gamma": self.gamma}
        super()._setup_model()
        if not isinstance(self.action_space, spaces.MultiDiscrete):
            raise TypeError(f"{type(self).__name__} needs MultiDiscrete actions")
        self.choices = Categoricals(self.action_space.nvec.tolist())

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "choices"]


def perceptron(n_inputs: int, widths: list[int]) -> nn.Sequential:
    """Layers of a multi-layer perceptron, each followed by a ReLU."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip([n_inputs, *widths[:-1]], widths, strict=True):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers)


def n_fields(agent: BaseAlgorithm | BasePolicy) -> int:
    """Length of the observation."""
    return int(np.prod(agent.observation_space.shape or ()))

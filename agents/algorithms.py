"""The learning algorithms by name, with the settings that fit this problem."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from agents.errors import AgentError
from agents.learners.fast_ppo import FastPPO
from agents.learners.imitation import Lessons


def linear_to_zero(initial: float) -> Callable[[float], float]:
    """Schedule that falls from `initial` to zero with the remaining progress."""

    def schedule(progress_remaining: float) -> float:
        return initial * progress_remaining

    return schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class Algorithm:
    """How to train with one algorithm.

    Attributes:
        agent_class: of Stable-Baselines3.
        continuous: whether it needs a `Box` action space.
        n_envs: simulated boards stepped at once.
        total_timesteps: of a default run.
        settings: constructor arguments.
        ent_coef: entropy bonus at the beginning, falling to zero; None leaves it to the agent.
        lessons: what is learned by imitation before, if anything.
    """

    agent_class: type[BaseAlgorithm]
    continuous: bool
    n_envs: int
    total_timesteps: int
    settings: dict[str, Any]
    ent_coef: float | None = None
    lessons: Lessons | None = None

    def build(self, env: VecEnv, seed: int, log_dir: str | None) -> BaseAlgorithm:
        """Create the agent."""
        return self.agent_class(
            "MlpPolicy",
            env,
            seed=seed,
            device="cpu",
            tensorboard_log=log_dir,
            **copy.deepcopy(self.settings),  # Stable-Baselines3 changes the dicts it is given
        )


# Many boards and hardly any look-ahead: what an action does to clocks and queue is nearly all
# charged to its own step, so a higher gamma mostly adds noise here. The entropy bonus must start
# high, or each axis settles near the first good point it finds, and end at zero. Twice over each
# batch and small networks: more epochs learn more per step but less per second.
_PPO: dict[str, Any] = {
    "n_steps": 10,
    "batch_size": 1200,
    "n_epochs": 2,
    "policy_kwargs": {
        "net_arch": {"pi": [128, 128], "vf": [32, 32]},
        "activation_fn": nn.ReLU,
        "optimizer_kwargs": {"fused": True},
    },
}

ALGORITHMS = {
    "amortised": Algorithm(
        agent_class=FastPPO,
        continuous=False,
        n_envs=960,
        total_timesteps=2_400_000,
        ent_coef=0.05,
        lessons=Lessons(),
        settings={
            **_PPO,
            "learning_rate": linear_to_zero(3e-3),
            "gamma": 0.5,
            "gae_lambda": 0.9,
        },
    ),
    "ppo": Algorithm(
        agent_class=FastPPO,
        continuous=False,
        n_envs=960,
        total_timesteps=3_000_000,
        ent_coef=0.05,
        settings={**_PPO, "learning_rate": linear_to_zero(3e-3), "gamma": 0.0},
    ),
    "sac": Algorithm(
        agent_class=SAC,
        continuous=True,
        n_envs=64,
        total_timesteps=400_000,
        settings={
            "learning_rate": 1e-3,
            "buffer_size": 200_000,
            "learning_starts": 10_000,
            "batch_size": 512,
            "gamma": 0.5,
            "tau": 0.02,
            "train_freq": 1,
            "gradient_steps": 2,
            "policy_kwargs": {"net_arch": [128, 128]},
        },
    ),
}


def algorithm(name: str) -> Algorithm:
    """Look an algorithm up.

    Raises:
        AgentError: unknown name.
    """
    try:
        return ALGORITHMS[name]
    except KeyError:
        raise AgentError(
            f"unknown algorithm {name!r}; choose one of {', '.join(ALGORITHMS)}"
        ) from None

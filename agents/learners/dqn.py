"""Recipes of Stable-Baselines3's DQN, over lists of whole actions."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import DQN

from agents.learners.algorithm import Algorithm
from agents.learners.off_policy import SETTINGS
from agents.learners.search_space import Q_LEARNING
from agents.learning.export import freeze, read_layers
from agents.learning.tables import drldo_table
from agents.policy.frozen import FrozenPolicy
from agents.policy.metadata import PolicyMetadata
from envs.listed_actions import thinned_table


def _freeze(agent: DQN, metadata: PolicyMetadata) -> FrozenPolicy:
    network: Any = agent.policy.q_net
    return freeze(agent, metadata, *read_layers([*network.q_net]))


_SETTINGS: dict[str, Any] = {
    **SETTINGS,
    "target_update_interval": 64,  # after each step of 64 boards, softly by `tau`
    "exploration_fraction": 0.5,
    "exploration_final_eps": 0.02,
}
RECIPE = Algorithm(
    agent_class=DQN,
    n_envs=64,
    total_timesteps=280_000,
    settings=_SETTINGS,
    freeze=_freeze,
    search=Q_LEARNING,
    head="table",
    table=thinned_table,
)
DRLDO = Algorithm(
    agent_class=DQN,
    n_envs=64,
    total_timesteps=400_000,
    settings=_SETTINGS,
    freeze=_freeze,
    search=Q_LEARNING,
    head="table",
    table=drldo_table,
    governed=("gpu", "emc"),
)

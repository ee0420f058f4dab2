"""The learning algorithms by name, with the settings that fit this problem."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stable_baselines3 import DQN, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from agents.advised.full_information import FullInformation
from agents.advised.portfolio import collect_states, complementary
from agents.advised.vec_env import AdvisedBoards
from agents.deciders.nominal import Known
from agents.errors import AgentError
from agents.learners.branching import BranchingDQN
from agents.learners.fast_ppo import FastPPO
from agents.learners.governed import GovernedClocks
from agents.learners.imitation import Lessons
from agents.learners.sac_discrete import SACDiscrete
from agents.learners.selection_time import SelectionTimeDiscount
from agents.learners.tables import TableActions, drldo_table, thinned_table
from agents.policy.frozen import PolicyMetadata
from agents.seeds import search_seeds
from agents.training.checkpoints import load_into
from agents.training.log_cost import LogCost
from envs.plant import Indices, Layout
from envs.scenarios.randomisation import Randomisation
from envs.sim.fleet import World
from envs.spaces import observation_fields
from envs.vec_env import EdgeSplitVecEnv


def linear_to_zero(initial: float) -> Callable[[float], float]:
    """Schedule that falls from `initial` to zero with the remaining progress."""

    def schedule(progress_remaining: float) -> float:
        return initial * progress_remaining

    return schedule


UNLIKE = Randomisation(latency_sd=0.1, power_sd=0.08, thermal_sd=0.1, link_sd=0.0)
"""How unlike the boards of a training are, so that a policy heeds the factors it reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Algorithm:
    """How to train with one algorithm.

    Attributes:
        agent_class: of Stable-Baselines3 or `agents.learners`.
        n_envs: simulated boards stepped at once.
        total_timesteps: of a default run.
        settings: constructor arguments.
        head: how its outputs make an action, see `agents.policy.frozen.PolicyMetadata`; unused
            where there is a portfolio.
        table: lists the actions of that head.
        portfolio: number of complementary actions that the agent chooses from, by the advice of
            the nominal models; 0 for every other agent.
        ent_coef: entropy bonus at the beginning, falling to zero; None leaves it to the agent.
        lessons: what is learned by imitation before, if anything.
        governed: clocks that are left to the kernel's governors.
        unseen: fields of the observation that are hidden from the agent.
        discounts_selection: whether to discount as DVFO does, see `SelectionTimeDiscount`.
        randomisation: of the boards it is trained on.
    """

    agent_class: type[BaseAlgorithm]
    n_envs: int
    total_timesteps: int
    settings: dict[str, Any]
    head: str = "categorical"
    table: Callable[[Layout], Indices] | None = None
    portfolio: int = 0
    ent_coef: float | None = None
    lessons: Lessons | None = None
    governed: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    discounts_selection: bool = False
    randomisation: Randomisation = UNLIKE

    def imagine(self, world: World) -> World:
        """The world to train in: what is believed about the board, and boards a bit unlike it."""
        return replace(world.as_believed(), randomisation=self.randomisation)

    def boards(self, world: World) -> EdgeSplitVecEnv:
        """Create the simulated boards."""
        return EdgeSplitVecEnv(world, self.n_envs, continuous=self.head == "box")

    def wrap(self, boards: EdgeSplitVecEnv, seed: int) -> VecEnv:
        """Show the boards to the agent as it needs them."""
        env: VecEnv = LogCost(boards)
        world = boards.fleet.world
        if self.portfolio:
            known, states = Known.of(world), collect_states(world, search_seeds(seed))
            actions = complementary(known, states, self.portfolio)
            return AdvisedBoards(env, boards.fleet, actions)
        if self.discounts_selection:
            env = SelectionTimeDiscount(env, world)
        if self.governed:
            env = GovernedClocks(env, world, self.governed)
        if self.table:
            env = TableActions(env, self.table(world.layout))
        return env

    def build(self, boards: EdgeSplitVecEnv, seed: int, log_dir: str | None) -> BaseAlgorithm:
        """Create the agent."""
        env = self.wrap(boards, seed)
        settings = copy.deepcopy(self.settings)  # Stable-Baselines3 changes the dicts it is given
        if self.unseen:
            names = [f.name for f in boards.encoder.fields]
            unseen = [names.index(name) for name in self.unseen if name in names]
            settings["policy_kwargs"]["unseen"] = unseen
        return self.agent_class(
            "MlpPolicy", env, seed=seed, device="cpu", tensorboard_log=log_dir, **settings
        )

    def load(
        self, path: Path, boards: EdgeSplitVecEnv, seed: int, log_dir: str | None
    ) -> BaseAlgorithm:
        """Load a saved agent to train it on, on other episodes than it has seen.

        Raises:
            RunFolderError: the file is damaged, or of an agent that is built otherwise.
        """
        agent = self.build(boards, seed, log_dir)
        load_into(agent, path)
        agent.set_random_seed((seed + agent.num_timesteps) % 2**32)
        return agent

    def describe(self, name: str, layout: Layout) -> PolicyMetadata:
        """Describe the policies it makes."""
        table = self.table(layout).tolist() if self.table else []
        return PolicyMetadata(
            algorithm=name,
            layout=layout,
            fields=observation_fields(layout),
            activation="relu",
            head=self.head,
            table=tuple(map(tuple, table)),
            governed=tuple(name for name in self.governed if name in layout.domains),
        )


# Many boards and hardly any look-ahead: what an action does to clocks and queue is nearly all
# charged to its own step, so a higher gamma mostly adds noise here. The entropy bonus must start
# high, or each axis settles near the first good point it finds, and end at zero. Twice over each
# batch and small networks: more epochs learn more per step but less per second.
_PPO: dict[str, Any] = {
    "learning_rate": linear_to_zero(3e-3),
    "n_steps": 10,
    "batch_size": 1200,
    "n_epochs": 2,
    "policy_kwargs": {
        "net_arch": {"pi": [128, 128], "vf": [32, 32]},
        "activation_fn": nn.ReLU,
        "optimizer_kwargs": {"fused": True},
    },
}
# The replay buffers are filled by many boards and small networks learn from them often: what counts
# in half a minute is the number of updates.
_Q: dict[str, Any] = {
    "learning_rate": linear_to_zero(2e-3),
    "buffer_size": 40_000,
    "learning_starts": 5_000,
    "batch_size": 256,
    "gamma": 0.0,
    "tau": 0.02,
    "train_freq": 1,
    "policy_kwargs": {"net_arch": [64, 64]},
}
_DQN: dict[str, Any] = {
    **_Q,
    "target_update_interval": 64,
    "exploration_fraction": 0.5,
    "exploration_final_eps": 0.02,
}

ALGORITHMS = {
    # A look ahead of a second: more helps where a server's load lasts and adds noise elsewhere.
    "advised": Algorithm(
        agent_class=FullInformation,
        n_envs=960,
        total_timesteps=3_000_000,
        portfolio=48,
        settings={
            "learning_rate": linear_to_zero(4e-3),
            "policy_kwargs": {
                "net_arch": {"pi": [128, 128], "vf": [64, 64]},
                "activation_fn": nn.ReLU,
                "ortho_init": False,
                "optimizer_kwargs": {"fused": True, "eps": 1e-8},
            },
        },
    ),
    "amortised": Algorithm(
        agent_class=FastPPO,
        n_envs=960,
        total_timesteps=2_400_000,
        ent_coef=0.05,
        lessons=Lessons(),
        settings={**_PPO, "gamma": 0.5, "gae_lambda": 0.9},
    ),
    "dvfo": Algorithm(agent_class=BranchingDQN, n_envs=64, total_timesteps=400_000, settings=_Q),
    "drldo": Algorithm(
        agent_class=DQN,
        n_envs=64,
        total_timesteps=400_000,
        settings=_DQN,
        head="table",
        table=drldo_table,
        governed=("gpu", "emc"),
    ),
    "sac-discrete": Algorithm(
        agent_class=SACDiscrete, n_envs=64, total_timesteps=200_000, settings=_Q
    ),
    "dqn": Algorithm(
        agent_class=DQN,
        n_envs=64,
        total_timesteps=280_000,
        head="table",
        table=thinned_table,
        settings=_DQN,
    ),
    "ppo": Algorithm(
        agent_class=FastPPO,
        n_envs=960,
        total_timesteps=2_400_000,
        ent_coef=0.05,
        settings={**_PPO, "gamma": 0.0},
    ),
    "sac": Algorithm(
        agent_class=SAC,
        head="box",
        n_envs=64,
        total_timesteps=180_000,
        # The temperature is adapted too slowly to begin at 1.
        settings={**_Q, "ent_coef": "auto_0.05"},
    ),
}
_DVFO = ALGORITHMS["dvfo"]
OWN_STATE = ("cpu_hz", "gpu_hz", "emc_hz", "edge_share", "decision_s")
"""What thinking while moving adds to the observation: the action in force, and t_AS."""
_FORESEEING = replace(_DVFO, settings={**_Q, "gamma": 0.5})
ABLATIONS = {
    "dvfo-unaware": replace(_DVFO, unseen=OWN_STATE),
    "dvfo-foreseeing": _FORESEEING,
    "dvfo-selection-discount": replace(_FORESEEING, discounts_selection=True),
}
"""Parts of `dvfo` taken away or added; another, deciding while the board goes on, is the world's.

Discounts can be told apart only where there is one, so two rows look ahead by a gamma of 0.5.
"""


def algorithm(name: str) -> Algorithm:
    """Look an algorithm up.

    Raises:
        AgentError: unknown name.
    """
    known = ALGORITHMS | ABLATIONS
    if name not in known:
        raise AgentError(f"unknown algorithm {name!r}; choose one of {', '.join(known)}")
    return known[name]

"""Recipe of a learner: its class, its settings, and how what it learned drives boards."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from agents.deciders.base import Decider
from agents.learners.imitation import ImitationConfig
from agents.learners.search_space import Dimension
from agents.learning.agent_decider import AgentDecider
from agents.learning.log_cost import LogCost
from agents.learning.tables import TableActions
from agents.policy.folder import Policy
from agents.policy.metadata import PolicyMetadata
from envs.governed.governing import Governing
from envs.plant import Indices, Layout
from envs.scenarios.randomisation import LARGEST_SD, Randomisation
from envs.sim.sim_config import SimConfig
from envs.spaces import ObservationField, observation_fields
from envs.vec_env import EdgeSplitVecEnv

SERVER_SD = math.log(10.0) / LARGEST_SD
"""Of the server's speed: from a tenth of what is usual to ten times that. Everybody's differs."""
UNLIKE = Randomisation(
    latency_sd=0.1, power_sd=0.08, thermal_sd=0.1, estimate_sd=0.1, server_sd=SERVER_SD
)
"""How unlike the boards of a training are, so that a policy heeds the factors it reads, and no more
than they say: over a link of a steady rate the median estimate of a live run was 1.04 to 1.26 times
that (results/live-readings.csv), and a policy that had never met such took 5 % longer answers of
the cloud for a reason to stay on the board."""


def linear_to_zero(initial: float) -> Callable[[float], float]:
    """Schedule that falls from `initial` to zero with the remaining progress, and stays there."""

    def schedule(progress_remaining: float) -> float:
        return initial * max(progress_remaining, 0.0)

    return schedule


def _as_agent(agent: BaseAlgorithm, metadata: PolicyMetadata, _world: SimConfig) -> Decider:
    """Decide as the agent predicts."""
    return AgentDecider(agent, metadata)


@dataclass(frozen=True, kw_only=True, slots=True)
class Algorithm:
    """How to train with one algorithm.

    Attributes:
        agent_class: of Stable-Baselines3 or `agents.learners`.
        n_envs: simulated boards stepped at once.
        total_timesteps: of a default run.
        settings: constructor arguments.
        freeze: makes a policy of an agent that has learned; raises PolicyError if it cannot.
        decider: makes a decider of an agent that still learns.
        head: how its outputs make an action, see `PolicyMetadata`.
        table: lists the actions of that head.
        wrapper: shows the boards, whose reward is already `LogCost`, to the agent otherwise than
            they are; also takes the seed of the training.
        ent_coef: entropy bonus at the beginning, falling to zero; None leaves it to the agent.
        lessons: what is learned by imitation before, if anything.
        governed: clocks that are left to the kernel's governors.
        unseen: fields of the observation that are hidden from the agent.
        randomisation: of the boards it is trained on.
        search: where better settings are looked for, by name.
    """

    agent_class: type[BaseAlgorithm]
    n_envs: int
    total_timesteps: int
    settings: dict[str, Any]
    freeze: Callable[[Any, PolicyMetadata], Policy]
    decider: Callable[[Any, PolicyMetadata, SimConfig], Decider] = _as_agent
    head: str = "categorical"
    table: Callable[[Layout], Indices] | None = None
    wrapper: Callable[[VecEnv, EdgeSplitVecEnv, int], VecEnv] | None = None
    ent_coef: float | None = None
    lessons: ImitationConfig | None = None
    governed: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    randomisation: Randomisation = UNLIKE
    search: Mapping[str, Dimension] = field(default_factory=dict)

    def imagine(self, world: SimConfig) -> SimConfig:
        """The world to train in: what is believed about the board, and boards a bit unlike it."""
        return replace(world.as_believed(), randomisation=self.randomisation)

    def boards(self, world: SimConfig) -> EdgeSplitVecEnv:
        """Create the simulated boards."""
        return EdgeSplitVecEnv(world, self.n_envs, continuous=self.head == "box")

    def wrap(self, boards: EdgeSplitVecEnv, seed: int) -> VecEnv:
        """Show the boards to the agent as it needs them."""
        env: VecEnv = LogCost(boards)
        if left := self._left(boards.fleet.layout):
            boards.fleet.leave_clocks(Governing(left))
        if self.table:
            env = TableActions(env, self.table(boards.fleet.layout))
        return self.wrapper(env, boards, seed) if self.wrapper else env

    def build(self, boards: EdgeSplitVecEnv, seed: int, log_dir: str | None) -> BaseAlgorithm:
        """Create the agent."""
        return self.agent(self.wrap(boards, seed), boards.encoder.fields, seed, log_dir)

    def agent(
        self, env: VecEnv, fields: Sequence[ObservationField], seed: int, log_dir: str | None
    ) -> BaseAlgorithm:
        """Create the agent on boards that are shown as it needs them; `fields` as observed."""
        settings = copy.deepcopy(self.settings)  # Stable-Baselines3 changes the dicts it is given
        if self.unseen:
            names = [f.name for f in fields]
            unseen = [names.index(name) for name in self.unseen if name in names]
            settings["policy_kwargs"]["unseen"] = unseen
        return self.agent_class(
            "MlpPolicy", env, seed=seed, device="cpu", tensorboard_log=log_dir, **settings
        )

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
            governed=self._left(layout),
        )

    def _left(self, layout: Layout) -> tuple[str, ...]:
        """Clocks of a board that are left to its governors."""
        return tuple(name for name in self.governed if name in layout.domains)

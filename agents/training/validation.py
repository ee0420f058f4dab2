"""Validation of an agent while it trains: the best policy so far is kept, not the last one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from agents.deciders.base import Decider
from agents.errors import RunFolderError
from agents.evaluation.episodes import Episodes, run_episodes
from agents.seeds import seeds_for
from agents.whole_file import written_whole
from envs.scenarios.episodes import picked
from envs.sim.sim_config import SimConfig
from partition import json_file

AsDecider = Callable[[BaseAlgorithm], Decider]
BEST = "best.safetensors"
"""Weights of the best policy of a run that is not finished."""
N_EPISODES = 18
"""Or a few more, so that every scenario has as many: chance left two of thirteen without any."""
N_VALIDATIONS = 10
"""Evenly over a training, besides the last policy. Each takes 0.18 to 0.27 s of a processor, all of
them 3 % of a default run of `advised` or `ppo`, and more of a shorter one."""
_PURPOSE = 0x7A11D
_HEADER = "best"


@dataclass(frozen=True, slots=True)
class Validated:
    """A policy on the validation episodes.

    Attributes:
        step: of the training, counted over all boards.
        decider: the policy.
        episodes: what came of it.
    """

    step: int
    decider: Decider
    episodes: Episodes

    @property
    def cost(self) -> float:
        """Mean cost of a control step."""
        return float(self.episodes.cost.mean())


class Validation(BaseCallback):
    """Runs the deterministic policy on episodes that are not trained on, and keeps the best one.

    Attributes:
        world: of the episodes, the one that is trained in.
        seeds: of the episodes.
        n_done: policies validated so far.
        last: the latest of them.
        best_cost: the lowest mean cost so far.
        best_step: step of the training that it is from.
    """

    last: Validated

    def __init__(self, world: SimConfig, decider: AsDecider, run_dir: Path | None = None) -> None:
        """Prepare.

        Args:
            world: that is trained in.
            decider: makes the agent one.
            run_dir: keeps the best policy, for a run that is cut.
        """
        super().__init__()
        self.world, self._decider = world, decider
        self.seeds = _seeds(len(world.scenarios))
        self.n_done, self.best_cost, self.best_step = 0, math.inf, 0
        self._path = run_dir / BEST if run_dir else None
        self._weights: dict[str, Tensor] = {}

    def _on_training_start(self) -> None:
        self._total, self._part = self.model._total_timesteps, -1

    def _on_step(self) -> bool:
        part = self.num_timesteps * N_VALIDATIONS // self._total
        if self._part < part < N_VALIDATIONS:
            self._validate()
            self._part = part
        return True

    def _on_training_end(self) -> None:
        self._validate()

    def take_up(self) -> None:
        """Go on with the best policy of a run that was cut, if it had come to one.

        Raises:
            RunFolderError: its file is damaged.
        """
        if self._path is None or not self._path.is_file():
            return
        try:
            with safe_open(self._path, framework="pt") as stored:
                header = json_file.parse(stored.metadata()[_HEADER])
                self._weights = {n: stored.get_tensor(n) for n in stored.keys()}  # noqa: SIM118
            self.best_cost, self.best_step = float(header["cost"]), int(header["step"])
        except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
            raise RunFolderError(
                f"{self._path} is damaged ({error}); train again in another folder"
            ) from None

    def put_back(self, agent: BaseAlgorithm) -> None:
        """Give an agent that has learned the weights of its best policy.

        Raises:
            RunFolderError: they were kept of another agent.
        """
        try:
            agent.policy.load_state_dict(self._weights)
        except RuntimeError:
            raise RunFolderError(
                f"{self._path} is of another agent; train again in another folder"
            ) from None

    def line(self) -> str:
        """Which policy is the best, in one line."""
        last = f"; the last one {self.last.cost:.3f}" if self.best_step < self.last.step else ""
        return (
            f"kept the policy of step {self.best_step:,} of {self.last.step:,}: it costs "
            f"{self.best_cost:.3f} on {len(self.seeds)} validation episodes{last}"
        )

    def _validate(self) -> None:
        decider = self._decider(self.model)
        episodes = run_episodes(self.world, decider, self.seeds)
        self.last = Validated(self.num_timesteps, decider, episodes)
        self.n_done += 1
        if self.last.cost < self.best_cost or not self._weights:
            self.best_cost, self.best_step = self.last.cost, self.last.step
            state = self.model.policy.state_dict()
            self._weights = {name: t.detach().clone() for name, t in state.items()}
            if self._path is not None:
                header = {"cost": self.best_cost, "step": self.best_step}
                blob = save(self._weights, {_HEADER: json.dumps(header)})
                with written_whole(self._path) as stream:
                    stream.write(blob)


def _seeds(n_scenarios: int) -> NDArray[np.uint64]:
    """Seeds that pick every scenario equally often."""
    per_scenario = -(-N_EPISODES // n_scenarios)
    chosen: dict[int, list[int]] = {i: [] for i in range(n_scenarios)}
    n_drawn = 0
    while any(len(seeds) < per_scenario for seeds in chosen.values()):
        n_drawn += N_EPISODES
        for seed in seeds_for(_PURPOSE, 0, n_drawn)[-N_EPISODES:].tolist():
            seeds = chosen[picked(seed, n_scenarios)]
            if len(seeds) < per_scenario:
                seeds.append(seed)
    return np.array([seed for seeds in chosen.values() for seed in seeds], np.uint64)

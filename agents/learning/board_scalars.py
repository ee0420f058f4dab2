"""Scalars of the board that an agent learns on: clocks, power, cut, requests in time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, configure

OUTCOME_TAGS = {
    "energy_j": "board/energy_per_inference_j",
    "power_w": "board/power_w",
    "latency_s": "board/latency_s",
    "deadline_hit_rate": "board/deadline_hit_rate",
    "accuracy": "board/accuracy",
    "uplink_bytes": "split/uplink_bytes",
    "fell_back": "split/fallbacks",
}
"""Tags in TensorBoard of what a control step came to, by its name in `envs.plant.Outcome`."""
LOG_EVERY_STEPS = 40
"""Ten seconds of a live board: an episode of four minutes is not waited for."""


class BoardMeans:
    """Means of what steps of `EdgeSplitEnv` told in their `info`, by the tags of TensorBoard."""

    def __init__(self) -> None:
        """Begin with no step."""
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, info: Mapping[str, Any]) -> None:
        """Take a step in; what it does not know counts for nothing."""
        outcome = info["outcome"]
        told = {tag: outcome[name] for name, tag in OUTCOME_TAGS.items()}
        told |= {f"reward/{name}": -term for name, term in info["reward_terms"].items()}
        told |= {f"clocks/{name}_hz": hz for name, hz in info["applied"].items()}
        told |= {"split/point": info["route"], "board/late_s": info["late_s"]}
        for tag, value in told.items():
            if value is not None and not math.isnan(value):
                self._sums[tag] += value
                self._counts[tag] += 1

    def take(self) -> dict[str, float]:
        """Means since the last call."""
        means = {tag: total / self._counts[tag] for tag, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means


class BoardLog:
    """Logs a board to TensorBoard where no agent of Stable-Baselines3 learns; a context manager."""

    def __init__(self, folder: Path, every_steps: int = LOG_EVERY_STEPS) -> None:
        """Log every `every_steps` steps to a folder."""
        self._logger = configure(str(folder), ["tensorboard"])
        self._every_steps, self._means, self._n_steps = every_steps, BoardMeans(), 0

    def __enter__(self) -> BoardLog:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is left."""
        self._write()
        self._logger.close()

    def add(self, info: Mapping[str, Any]) -> None:
        """Take a step in."""
        self._means.add(info)
        self._n_steps += 1
        if self._n_steps % self._every_steps == 0:
            self._write()

    def _write(self) -> None:
        record(self._logger, self._means.take())
        self._logger.dump(self._n_steps)


def record(logger: Logger, means: Mapping[str, float]) -> None:
    """Put means by their tags into a logger."""
    for tag, mean in means.items():
        logger.record(tag, mean)


class BoardScalars(BaseCallback):
    """Logs a board while an agent of Stable-Baselines3 learns on it.

    The means go to the agent's own logger every so many steps, and so to its `tensorboard_log`.
    """

    def __init__(self, every_steps: int = LOG_EVERY_STEPS) -> None:
        """Log every `every_steps` steps of the environment."""
        super().__init__()
        self._every_steps, self._means = every_steps, BoardMeans()

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            self._means.add(info)
        if self.n_calls % self._every_steps == 0:
            self._log()
        return True

    def _on_training_end(self) -> None:
        self._log()

    def _log(self) -> None:
        record(self.logger, self._means.take())
        self.logger.dump(self.num_timesteps)

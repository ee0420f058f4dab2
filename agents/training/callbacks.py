"""Training callbacks: scalars of the controlled boards, a figure, and the gap to the oracle."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure as LoggedFigure
from stable_baselines3.common.logger import TensorBoardOutputFormat
from tqdm import tqdm

from agents.baselines.best_static import best_static
from agents.deciders.oracle import Oracle
from agents.evaluation.episodes import run_episodes
from agents.evaluation.plots import decisions_figure, record_decisions
from agents.learning.board_scalars import OUTCOME_TAGS
from agents.seeds import search_seeds
from agents.training.validation import Validation
from envs.objective import TERMS
from envs.vec_env import EdgeSplitVecEnv

FIGURE_EVERY = 5


class EntropyDecay(BaseCallback):
    """Lowers PPO's entropy bonus linearly to zero; Stable-Baselines3 only takes a constant."""

    def __init__(self, ent_coef: float) -> None:
        """Begin at `ent_coef`."""
        super().__init__()
        self._ent_coef = ent_coef

    def _on_rollout_start(self) -> None:
        if not hasattr(self.model, "ent_coef"):
            raise TypeError(f"{type(self.model).__name__} has no entropy bonus to lower")
        progress_remaining = 1.0 - self.num_timesteps / self.model._total_timesteps
        self.model.ent_coef = self._ent_coef * max(progress_remaining, 0.0)

    def _on_step(self) -> bool:
        return True


class TrainingReport(BaseCallback):
    """Logs the boards next to SB3's own scalars and compares with the oracle now and then.

    Scalars of exploring boards (`board/`, `clocks/`, `split/`, `reward/`) are means over a
    rollout; `validation/` is the deterministic policy on episodes that are not trained on.
    """

    def __init__(
        self, env: EdgeSplitVecEnv, validation: Validation, target: float | None = None
    ) -> None:
        """Run the oracle on the validation episodes, a few seconds.

        Args:
            env: that the agent is trained in.
            validation: of the agent, called before this.
            target: fraction of the gap between the best setting for all scenarios and the oracle,
                at which training stops once it is closed; never if not given.
        """
        super().__init__()
        self._env, self._validation = env, validation
        oracle = run_episodes(validation.world, Oracle(), validation.seeds)
        self._oracle_cost = float(oracle.cost.mean())
        self._goal_cost = -math.inf if target is None else self._cost_at(target)
        self._n_told = 0
        self._sums: dict[str, float] = {}
        self._n_sums = 0

    def _on_training_start(self) -> None:
        self._bar = tqdm(
            total=self.model._total_timesteps,
            initial=self.num_timesteps,
            unit="step",
            unit_scale=True,
            desc="training",
            mininterval=0.5 if sys.stderr.isatty() else 20.0,
            maxinterval=60.0,
        )

        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat):
                output.writer.add_custom_scalars({"dvfo": self._charts()})

    def _on_step(self) -> bool:
        self._bar.update(self._env.num_envs)
        for tag, value in self._tagged():
            self._sums[tag] = self._sums.get(tag, 0.0) + float(np.mean(value))
        self._n_sums += 1
        if self._n_told < self._validation.n_done:
            self._tell()
        return self._validation.best_cost > self._goal_cost

    def _on_rollout_end(self) -> None:
        for tag, total in self._sums.items():
            self.logger.record(tag, "unknown" if math.isnan(total) else total / self._n_sums)
        self._sums.clear()
        self._n_sums = 0

    def _on_training_end(self) -> None:
        self._tell()
        self.logger.dump(self.num_timesteps)
        self.close()

    def close(self) -> None:
        """End the line of progress, so that what is said next begins another one."""
        if hasattr(self, "_bar"):
            self._bar.close()

    def _charts(self) -> dict[str, list[str | list[str]]]:
        """Lay out TensorBoard's custom scalars: what belongs together in one chart."""
        clocks = [f"clocks/{domain}_hz" for domain in self._env.fleet.layout.domains]
        return {
            "cost against the oracle": ["Multiline", ["validation/cost", "validation/oracle_cost"]],
            "energy per inference, J": [
                "Multiline",
                ["validation/energy_per_inference_j", "board/energy_per_inference_j"],
            ],
            "latency, s": ["Multiline", ["validation/latency_s", "board/latency_s"]],
            "requests in time": [
                "Multiline",
                ["validation/deadline_hit_rate", "board/deadline_hit_rate"],
            ],
            "clocks while exploring, Hz": ["Multiline", clocks],
            "reward terms while exploring": ["Multiline", [f"reward/{name}" for name in TERMS]],
        }

    def _tagged(self) -> list[tuple[str, NDArray[Any]]]:
        env = self._env
        clocks_hz = env.fleet.readings().clocks_hz
        return [
            *((tag, getattr(env.last_outcome, key)) for key, tag in OUTCOME_TAGS.items()),
            *((f"reward/{name}", -term) for name, term in env.last_terms.items()),
            *((f"clocks/{d}_hz", clocks_hz[:, k]) for k, d in enumerate(env.fleet.layout.domains)),
            ("split/point", env.last_actions[:, -1]),
        ]

    def _cost_at(self, share: float) -> float:
        """Cost at which a share of the gap from the best static setting to the oracle is closed."""
        world = self._validation.world
        static = best_static(world, search_seeds(0))
        start = float(run_episodes(world, static, self._validation.seeds).cost.mean())
        return start - share * (start - self._oracle_cost)

    def _tell(self) -> None:
        self._n_told = self._validation.n_done
        last = self._validation.last
        result, cost = last.episodes, last.cost
        gap = cost / self._oracle_cost - 1.0
        self.logger.record("validation/cost", cost)
        self.logger.record("validation/oracle_cost", self._oracle_cost)
        self.logger.record("validation/oracle_gap", gap)
        self.logger.record("validation/energy_per_inference_j", float(result.energy_j.mean()))
        self.logger.record("validation/latency_s", float(result.latency_s.mean()))
        self.logger.record("validation/deadline_hit_rate", float(result.deadline_hit_rate.mean()))
        self._bar.set_postfix_str(
            f"cost {cost:.3f}, oracle {self._oracle_cost:.3f}, gap {100.0 * gap:.1f} %"
        )
        if self._n_told % FIGURE_EVERY == 1:
            decisions = record_decisions(
                self._validation.world, last.decider, self._validation.seeds
            )
            world = self._validation.world
            figure = decisions_figure(
                [("policy", decisions)], world.layout.domains, world.route_names
            )
            self.logger.record(
                "policy/over_link_rate",
                LoggedFigure(figure, close=False),
                exclude=("stdout", "log", "json", "csv"),
            )

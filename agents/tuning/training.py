"""One training of a search: its validation costs as they come, and what may end it early."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

from optuna.exceptions import TrialPruned
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from agents.errors import AgentError
from agents.training.run import TrainConfig
from agents.training.validation import Validation
from agents.tuning.study_file import Training
from envs.errors import EnvError
from envs.sim.sim_config import SimConfig

IsHopeless = Callable[[int, float], bool]
"""Whether to end a training, by the number of its validation and that one's cost."""
FAILURES = (
    *(AgentError, EnvError, ArithmeticError, AssertionError),
    *(IndexError, RuntimeError, TypeError, ValueError),
)
"""What an agent with senseless settings raises, weights that are not finite above all."""
_LONGEST = 200
"""Characters of a reason; torch prints whole tensors."""


class _Watch(BaseCallback):
    """Tells each validation's cost, and ends a training that is hopeless or has diverged."""

    def __init__(
        self, validation: Validation, costs: list[float], is_hopeless: IsHopeless, title: str
    ) -> None:
        super().__init__()
        self._validation, self._costs = validation, costs
        self._is_hopeless, self._title = is_hopeless, title

    def _on_training_start(self) -> None:
        self._bar = tqdm(
            total=self.model._total_timesteps,
            unit="step",
            unit_scale=True,
            desc=self._title,
            mininterval=0.5 if sys.stderr.isatty() else 20.0,
            maxinterval=60.0,
            leave=False,
        )

    def _on_step(self) -> bool:
        self._bar.update(self.training_env.num_envs)
        if len(self._costs) < self._validation.n_done:
            cost = self._validation.last.cost
            if not math.isfinite(cost):
                raise AgentError(f"it diverged: at step {self.num_timesteps:,} it costs {cost}")
            self._costs.append(cost)
            if self._is_hopeless(len(self._costs), cost):
                raise TrialPruned
        return True

    def close(self) -> None:
        if hasattr(self, "_bar"):
            self._bar.close()


def run_training(
    training: Training,
    config: TrainConfig,
    world: SimConfig,
    is_hopeless: IsHopeless = lambda *_: False,
) -> int:
    """Train, and write down what came of it.

    Args:
        training: changed in place; trial 0 takes nothing but what a user gave.
        config: of all trainings of the search.
        world: to learn in.
        is_hopeless: ends it.

    Returns:
        Episodes that it was validated on, 0 if it did not come to that.
    """
    given = config.hyperparams
    if training.trial > 0:
        given = {**given, **training.settings}
    watches: list[tuple[Validation, _Watch]] = []
    training.costs, training.reason = [], ""

    def watch(_: object, validation: Validation) -> list[BaseCallback]:
        title = f"trial {training.trial}, seed {training.seed}"
        watches.append((validation, _Watch(validation, training.costs, is_hopeless, title)))
        return [watches[0][1]]

    began_s = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that do not divide each other
            replace(config, seed=training.seed, hyperparams=given).train(world, watch)
        training.state, training.cost = "done", watches[0][0].best_cost
        if not math.isfinite(training.cost):
            raise AgentError(f"it diverged: it costs {training.cost}")
    except TrialPruned:
        training.state = "pruned"
    except FAILURES as error:
        training.state, training.cost = "failed", None
        training.reason = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
    finally:
        for _, each in watches:
            each.close()
        training.cpu_s = time.process_time() - began_s
    return len(watches[0][0].seeds) if watches else 0

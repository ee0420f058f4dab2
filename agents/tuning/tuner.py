"""Search for a learner's settings by Optuna, which can be cut and goes on."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import optuna
from optuna.trial import TrialState

from agents.errors import AgentError, RunFolderError
from agents.training.algorithms import algorithm, learns
from agents.training.all_deciders import DECIDERS
from agents.training.run import TrainConfig, open_or_prepare
from agents.tuning.outcome import best_trials, last_words, time_left_s
from agents.tuning.space import Space
from agents.tuning.study_file import STUDY_FILE, Study, Training, read
from agents.tuning.training import IsHopeless, run_training
from common.progress import duration
from envs.sim.sim_config import SimConfig

N_SEEDS = 2
"""Other seeds that the best trials are trained again with: the best of many trainings with one
seed owes part of its place to chance."""
N_UNPRUNED = 4
"""Trainings that are always finished, so that there is a median to end others by."""
N_SPARED = 3
"""Validations of eleven before a training may be ended; it costs most in the beginning, whatever
its settings."""
N_AT_RANDOM = 8
"""Trials before the sampler begins to guess where better settings are."""
LONGEST = 3.0
"""Processor time of a training over that of what ships; with more of it anything is better."""
_LOCK = "tuning.lock"
_STATES = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


def is_search(folder: Path) -> bool:
    """Whether a folder holds a search."""
    return (folder / STUDY_FILE).is_file()


def tune(config: TrainConfig, n_trials: int, folder: Path) -> str:
    """Search, or go on with a search that was cut.

    Args:
        config: of the trainings; its settings stay as they are given.
        n_trials: settings to try, what ships among them.
        folder: where the record and the tables go.

    Returns:
        What was found and how to train with it, in a few lines.

    Raises:
        AgentError: the algorithm, its settings, the folder, or no training came to its end.
        EnvError: a scenario or an effect.
        HardwareError: the device.
        PartitionError: the model.
    """
    if not learns(config.algo) and DECIDERS.entry(config.algo):
        raise AgentError(f"{config.algo} does not learn; leave --tune out")
    if n_trials < 2:
        raise AgentError(f"--tune {n_trials} tries nothing but what ships; give 2 or more")
    space = Space.of(
        config.algo, algorithm(config.algo), config.hyperparams, config.total_timesteps
    )
    world = config.world(open_or_prepare(config.model))
    with _locked(folder):
        search = _Search(_begun(config, n_trials, folder), space, world, folder)
        names = ", ".join(space.distributions)
        print(f"searching in {folder}, where --resume goes on: {names}", flush=True)
        search.try_all()
        search.train_again()
        return last_words(search.study, folder)


class _Search:
    """The trials of a study, one after the other."""

    def __init__(self, study: Study, space: Space, world: SimConfig, folder: Path) -> None:
        self.study = study
        self._space, self._world, self._folder = space, world, folder
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna = optuna.create_study(
            # Other draws than before it was cut, or the same settings would be tried again.
            sampler=optuna.samplers.TPESampler(
                seed=study.config.seed + len(study.trials), n_startup_trials=N_AT_RANDOM
            ),
            pruner=optuna.pruners.MedianPruner(N_UNPRUNED, N_SPARED),
        )
        for training in study.trials:
            if training.state in _STATES:
                self._optuna.add_trial(self._remembered(training))

    def try_all(self) -> None:
        """Try settings until there are as many as asked for."""
        for training in self.study.trials:
            if training.state == "begun":
                self._try(training, self._known_trial(training))
        while (number := len(self.study.trials)) < self.study.n_trials:
            training = Training(
                trial=number, seed=self.study.config.seed, settings=self._space.shipped
            )
            if number:
                trial = self._optuna.ask(self._space.distributions)
                training.settings = trial.params
            else:
                trial = self._known_trial(training)
            self.study.trainings.append(training)
            self._try(training, trial)

    def train_again(self) -> None:
        """Train the best settings with other seeds."""
        study = self.study
        for best in best_trials(study):
            for seed in range(study.config.seed + 1, study.config.seed + 1 + N_SEEDS):
                found = [each for each in study.again(best.trial) if each.seed == seed]
                training = (
                    found[0]
                    if found
                    else Training(trial=best.trial, seed=seed, settings=best.settings)
                )
                if not found:
                    study.trainings.append(training)
                if training.state == "begun":
                    self._run(training)

    def _known_trial(self, training: Training) -> optuna.Trial:
        """A trial of settings that are chosen already."""
        known = self._space.known(training.settings)
        self._optuna.enqueue_trial({name: training.settings[name] for name in known})
        return self._optuna.ask(known)

    def _try(self, training: Training, trial: optuna.Trial) -> None:
        longest_s = LONGEST * self.study.trials[0].cpu_s
        began_s = time.process_time()

        def is_hopeless(n: int, cost: float) -> bool:
            trial.report(cost, n)
            if training.trial == 0:
                return False
            if is_slow := time.process_time() - began_s > longest_s > 0.0:
                training.reason = f"takes more than {LONGEST:.0f} times as long as what ships"
            return is_slow or trial.should_prune()

        self._run(training, is_hopeless)
        self._optuna.tell(trial, training.cost, _STATES[training.state])

    def _run(self, training: Training, is_hopeless: IsHopeless = lambda *_: False) -> None:
        self.study.save(self._folder)
        n_episodes = run_training(training, self.study.config, self._world, is_hopeless)
        self.study.n_validation_episodes = n_episodes or self.study.n_validation_episodes
        self.study.save(self._folder)
        came_of_it = training.state if training.cost is None else f"costs {training.cost:.4f}"
        reason = f" ({training.reason})" if training.reason else ""
        left_s = time_left_s(self.study, N_SEEDS)
        left = f"; about {duration(left_s)} left" if left_s else ""
        print(
            f"trial {training.trial}, seed {training.seed}: "
            f"{came_of_it}{reason}, {duration(training.cpu_s)}{left}",
            flush=True,
        )

    def _remembered(self, training: Training) -> optuna.trial.FrozenTrial:
        known = self._space.known(training.settings)
        return optuna.create_trial(
            state=_STATES[training.state],
            value=training.cost,
            params={name: training.settings[name] for name in known},
            distributions=known,
            intermediate_values=dict(enumerate(training.costs, 1)),
        )


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _begun(config: TrainConfig, n_trials: int, folder: Path) -> Study:
    """A new study, or the one that was cut."""
    if not is_search(folder):
        return Study(config=config, n_trials=n_trials)
    study = read(folder)
    was, asked = asdict(study.config), asdict(config)
    for name, value in was.items():
        if value != asked[name]:
            raise RunFolderError(
                f"{folder} was begun with {name} {_words(value)}, now it is "
                f"{_words(asked[name])}; give another --out, or --resume {folder} alone"
            )
    study.n_trials = n_trials
    return study


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder, so that no other process searches in it.

    Raises:
        RunFolderError: another one does, it holds something else, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not is_search(folder) and any(each.name != _LOCK for each in folder.iterdir()):
            raise RunFolderError(f"{folder} is not empty and holds no search; give another --out")
        with (folder / _LOCK).open("ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError:
        raise RunFolderError(f"another process searches in {folder}; give another --out") from None

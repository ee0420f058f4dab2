"""One run of `train.py`: learn or fit, evaluate on held-out episodes, write a run folder."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from stable_baselines3.common.callbacks import BaseCallback

from agents.deciders.base import Decider
from agents.deployed.run_folder import DEVICE_FILE, GOVERNED_FILE, keep_device
from agents.errors import AgentError, RunFolderError
from agents.evaluation.evaluate import one_by_one, run_rivals
from agents.evaluation.verdict import last_words
from agents.policy.folder import METADATA_FILE
from agents.policy.saved_rule import SavedRule, save_privileged
from agents.training.algorithms import algorithm, learns
from agents.training.all_deciders import DECIDERS
from agents.training.callbacks import TrainingReport
from agents.training.checkpoints import (
    AGENT,
    AGENT_WEIGHTS,
    CHECKPOINT,
    Checkpoints,
    checkpoint_in,
    save_whole,
)
from agents.training.hyperparams import Value, with_hyperparams
from agents.training.judge import judge
from agents.training.learn import TrainingResult, Watchers, simulated_decider, train
from agents.training.machine import describe_machine
from agents.training.validation import BEST, Validation
from agents.training.workers import fresh_processes, n_cores
from agents.whole_file import written_whole
from common.schema import convert
from envs.governed.table_file import keep
from envs.sim.build import build_sim_config
from envs.sim.effects import Effects
from envs.sim.sim_config import SimConfig
from envs.vec_env import EdgeSplitVecEnv
from hw.base import Hold
from hw.device.file import moved, on_runtime, split_runtime
from partition import json_file
from partition.errors import ModelExportError, ModelNotFoundError
from partition.model.folder import ModelFolder
from partition.model.profile_file import PROFILE_FILE
from partition.prepare import zoo
from partition.prepare.build import prepare
from partition.profile.measure import profile, write

CONFIG_FILE = "config.json"
PROVENANCE_FILE = "provenance.txt"
MACHINE_FILE = "machine.json"
TRAIN_LONGER = "train longer (--total-timesteps), or take best-static (--algo best-static)"
TAKE_ANOTHER = "take best-static or a policy that learns (--algo)"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """A training run; saved as `config.json`.

    Attributes:
        board: the simulated one's name in `hw.boards.registry`.
        device: name of a device model, or a TOML file.
        model: name of the network, or its folder.
        scenario: names or TOML files.
        algo: name of a decider or of a learner's ablation, or MODULE:NAME of a user's own.
        total_timesteps: of reinforcement learning; None takes the algorithm's own number.
        seed: of everything random.
        without: effects that are not simulated.
        blocking: boards wait for each decision rather than going on meanwhile.
        hold: how clocks are held, "cap" or "pin".
        target: fraction of the gap between the best static setting and the oracle at which to stop.
        hyperparams: settings of the algorithm that differ from what it ships with.
        runtime: what computes the network on the device, one of those in its file; None takes the
            first.
    """

    board: str
    device: str
    model: str
    scenario: tuple[str, ...]
    algo: str
    total_timesteps: int | None
    seed: int
    without: tuple[str, ...] = ()
    blocking: bool = False
    hold: Literal["pin", "cap"] = "pin"
    target: float | None = None
    hyperparams: dict[str, Value] = field(default_factory=dict)
    runtime: str | None = None

    def world(self, folder: ModelFolder, run_dir: Path | None = None) -> SimConfig:
        """Build the simulated world; what a run's folder keeps of it is not made again.

        Raises:
            EnvError: a scenario or an effect.
            HardwareError: the device.
        """
        kept = run_dir / GOVERNED_FILE if run_dir else None
        device = on_runtime(self.device, self.runtime)
        world = build_sim_config(device, folder, self.scenario, hold=Hold(self.hold), governed=kept)
        return replace(world, effects=Effects.without(self.without), blocking=self.blocking)

    @property
    def learns(self) -> bool:
        """Whether there is an agent to train."""
        return learns(self.algo)

    def train(
        self,
        world: SimConfig,
        watchers: Watchers,
        *,
        run_dir: Path | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> TrainingResult:
        """Learn, in a run folder from its last checkpoint on; see `agents.training.learn.train`."""
        return train(
            self.algo,
            world,
            self.seed,
            total_timesteps=self.total_timesteps,
            run_dir=run_dir,
            watchers=watchers,
            report=report,
            checkpoint=checkpoint_in(run_dir) if run_dir else None,
            hyperparams=self.hyperparams,
        )


def run(config: TrainConfig, run_dir: Path, *, is_new: bool = True, is_judged: bool = True) -> str:
    """Train, evaluate and freeze; a run that was cut goes on from its last checkpoint.

    Args:
        config: what to do.
        run_dir: where.
        is_new: whether the folder has to be made, after everything else has been found right.
        is_judged: whether it is evaluated on held-out episodes.

    Returns:
        Whether the policy is worth deploying, and what to do next, in a few lines; nothing of one
        that is not judged.

    Raises:
        AgentError: the algorithm or the run folder.
        EnvError: a scenario or an effect.
        HardwareError: the device.
        PartitionError: the model.
    """
    # An unknown name is reported before anything is prepared.
    if config.learns:
        with_hyperparams(config.algo, algorithm(config.algo), config.hyperparams)
    elif DECIDERS.entry(config.algo) and config.hyperparams:
        raise AgentError(f"{config.algo} does not learn; leave --hyperparams out")
    folder = open_or_prepare(config.model)
    world = config.world(folder, run_dir)
    # As deploy.py will look it up, whatever the network was given as.
    is_named = folder.path == Path("models") / folder.name
    config = replace(
        config,
        model=folder.name if is_named else str(folder.path),
        device=split_runtime(config.device)[0],
        runtime=world.device.runtime,
    )
    if is_new:
        make_run_dir(run_dir)
    write_json(run_dir / CONFIG_FILE, asdict(config))
    keep_device(config.device, run_dir)
    if world.governed is not None:
        keep(world.governed, run_dir / GOVERNED_FILE)
    write_json(run_dir / MACHINE_FILE, describe_machine())
    (run_dir / PROVENANCE_FILE).write_text(f"{world.device.status_line}\n", encoding="utf-8")
    print(
        f"{world.device.name} with {config.runtime} (modelled): what the model rests on is in "
        f"{PROVENANCE_FILE}"
    )
    if not folder.accuracy_is_known:
        print(
            f"what the routes of {folder.name} lose in accuracy is unknown and costs nothing here; "
            f"python -m partition.profile --model {folder.path} --source FILE measures it"
        )
    if not is_judged:
        _, save_policy = (_learned if config.learns else _fitted)(config, world, run_dir)
        save_policy(run_dir / "policy")
        return ""
    with fresh_processes(max(n_cores() - 1, 1)) as pool:  # the baselines need no policy
        beside = [pool.submit(run_rivals, single, config.seed) for single in one_by_one(world)]
        decider, save_policy = (_learned if config.learns else _fitted)(config, world, run_dir)
        rows = judge(world, config.algo, decider, config.seed, run_dir, beside=beside)
    save_policy(run_dir / "policy")  # last, so that a folder with a policy is a finished run
    return last_words(
        rows,
        config.algo,
        run_dir,
        remedy=TRAIN_LONGER if config.learns else TAKE_ANOTHER,
        is_privileged=not config.learns and DECIDERS.entry(config.algo).kind == "privileged",
    )


def open_or_prepare(model: str) -> ModelFolder:
    """Open a prepared model; otherwise prepare it and measure what each cut costs in accuracy."""
    try:
        return ModelFolder.open(model)
    except ModelNotFoundError:
        source = zoo.resolve(model)
        # Not on stdout, which may be JSON.
        print(f"preparing and profiling {model}, about a minute", file=sys.stderr)
        try:
            folder = prepare(source)
        except ModelExportError as error:
            if not isinstance(source.load, Path):
                raise
            raise ModelExportError(f"{error} (then train with --model {source.name})") from error
        write(folder.path / PROFILE_FILE, profile(folder))
        return ModelFolder.open(folder.path)


def make_run_dir(path: Path) -> None:
    """Make an empty run folder.

    Raises:
        RunFolderError: it is not empty, or cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise RunFolderError(f"{path} is not empty; give another --out, or --resume {path}")
        (path / CONFIG_FILE).touch()
    except OSError as error:
        raise RunFolderError(
            f"{path} cannot be written ({error.strerror}); give another --out"
        ) from None


def resumed(path: Path) -> TrainConfig:
    """Read the configuration of a run that was cut.

    Raises:
        RunFolderError: there is none, it is damaged, or the run is finished.
    """
    if is_finished(path):
        raise RunFolderError(f"{path} is finished; train again with another --out")
    config = _read_config(path)
    kept = path / DEVICE_FILE
    return replace(config, device=moved(config.device, kept)) if kept.is_file() else config


def _read_config(path: Path) -> TrainConfig:
    try:
        return convert(json_file.read(path / CONFIG_FILE), TrainConfig)
    except FileNotFoundError:
        raise RunFolderError(f"{path} holds no run; give the folder of one that was cut") from None
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path / CONFIG_FILE} is damaged ({error}); train again") from None


def resumed_settings(path: Path) -> tuple[int | None, dict[str, Value]]:
    """What a run was told of learning: total_timesteps and hyperparams.

    Raises:
        RunFolderError: its configuration is damaged.
    """
    config = _read_config(path)
    return config.total_timesteps, config.hyperparams


def is_finished(path: Path) -> bool:
    """Whether a run folder holds all it will."""
    return (path / "policy" / METADATA_FILE).is_file()


def write_json(path: Path, document: object) -> None:
    """Write a JSON file that a killed process leaves whole or not at all."""
    with written_whole(path) as stream:
        stream.write(f"{json.dumps(document, indent=1)}\n".encode())


def _learned(config: TrainConfig, world: SimConfig, run_dir: Path) -> tuple[Decider, Any]:
    reports: list[TrainingReport] = []

    def watchers(boards: EdgeSplitVecEnv, validation: Validation) -> list[BaseCallback]:
        reports.append(TrainingReport(boards, validation, config.target))
        return [*reports, Checkpoints(run_dir)]

    began_s = time.monotonic()
    try:
        trained = config.train(world, watchers, run_dir=run_dir, report=print)
    finally:
        for report in reports:
            report.close()
    print(f"trained {trained.steps:,} steps in {time.monotonic() - began_s:.0f} s")
    with written_whole(run_dir / AGENT) as stream:
        trained.agent.save(stream)
    save_whole(trained.agent, run_dir / AGENT_WEIGHTS)
    for name in (CHECKPOINT, BEST):
        (run_dir / name).unlink(missing_ok=True)
    return simulated_decider(trained.policy, world), trained.policy.save


def _fitted(config: TrainConfig, world: SimConfig, _run_dir: Path) -> tuple[Decider, Any]:
    fitted = DECIDERS.fit(config.algo, world, config.seed)
    print(f"fitted on {fitted.fit_steps} steps in {fitted.fit_s:.0f} s {fitted.note}".rstrip())
    if DECIDERS.entry(config.algo).kind == "privileged":
        return fitted.decider, lambda folder: save_privileged(config.algo, world.layout, folder)
    if fitted.rule is None:
        raise AgentError(
            f"{config.algo} cannot be saved: its entry in agents/registry.py builds it without a "
            f"rule; give its FittedDecider one"
        )
    return fitted.decider, SavedRule(config.algo, fitted.rule, world.layout).save

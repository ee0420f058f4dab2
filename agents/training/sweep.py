"""Many training runs on this machine: a grid in a TOML file, resumable, one table at the end.

algo = ["advised", "ppo"]          every list is an axis of the grid
seed = [0, 1, 2]
device = ["tx2"]
model = ["efficientnet-lite0"]
scenario = ["all"]                 each a run of its own; "all" is one run on all of them
total_timesteps = 500000           optional, one number
processes = 2                      optional, runs at the same time

[hyperparams]                      optional, each an axis too, for all the algorithms
learning_rate = [1e-3, 3e-3]
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

from msgspec import Meta
from rich.console import Console
from rich.table import Table as RichTable

from agents.errors import AgentError
from agents.evaluation.report import NO_GAP
from agents.training.hyperparams import Value
from agents.training.run import CONFIG_FILE, is_finished, resumed_settings
from agents.training.workers import PARENT
from common.schema import Table, Text, convert, read_toml
from partition.model.folder import CUTS_FILE

AXES = ("algo", "device", "model", "scenario", "seed")
PATIENCE_S = 20.0
"""For a trainer to write its checkpoint once it is asked to stop."""
LOOK_EVERY_S = 0.2
_SCRIPT = Path(__file__).parents[2] / "train.py"
_Names = Annotated[tuple[Text, ...], Meta(min_length=1)]
_Values = Annotated[tuple[Value, ...], Meta(min_length=1)]
_Seed = Annotated[int, Meta(ge=0, lt=2**32)]
_Positive = Annotated[int, Meta(ge=1)]


class _File(Table, frozen=True):
    algo: _Names = ("advised",)
    device: _Names = ("tx2",)
    model: _Names = ("efficientnet-lite0",)
    scenario: _Names = ("all",)
    seed: Annotated[tuple[_Seed, ...], Meta(min_length=1)] = (0,)
    total_timesteps: _Positive | None = None
    processes: _Positive | None = None
    hyperparams: dict[str, object] = {}  # noqa: RUF012 - msgspec copies it


@dataclass(frozen=True, slots=True)
class SweepRun:
    """One point of the grid.

    Attributes:
        values: one per axis.
        hyperparams: of its algorithm that differ from what it ships with.
        total_timesteps: of reinforcement learning; None takes the algorithm's own number.
        folder: of the run.
    """

    values: dict[str, Any]
    hyperparams: dict[str, Value]
    total_timesteps: int | None
    folder: Path

    def command(self) -> list[str]:
        """What trains it, or goes on with it."""
        command = [sys.executable, str(_SCRIPT)]
        if self.is_begun:
            return [*command, "--algo", str(self.values["algo"]), "--resume", str(self.folder)]
        for axis, value in self.values.items():
            command += [f"--{axis}", str(value)]
        if self.total_timesteps is not None:
            command += ["--total-timesteps", str(self.total_timesteps)]
        if self.hyperparams:
            pairs = (f"{name}={_text(value)}" for name, value in self.hyperparams.items())
            command += ["--hyperparams", *pairs]
        return [*command, "--out", str(self.folder)]

    @property
    def is_begun(self) -> bool:
        """Whether its folder says what it trains."""
        config = self.folder / CONFIG_FILE
        return config.is_file() and bool(config.stat().st_size)

    def check_settings(self) -> None:
        """Refuse a folder that was begun with other settings.

        Raises:
            AgentError: it was, or what it says is damaged.
        """
        if not self.is_begun:
            return
        found, wanted = resumed_settings(self.folder), (self.total_timesteps, self.hyperparams)
        for name, was, asked in zip(("total_timesteps", "hyperparams"), found, wanted, strict=True):
            if was != asked:
                raise AgentError(
                    f"{self.folder} was begun with {name} {was}, the sweep file asks for {asked}; "
                    "give the file another name, or remove the folder"
                )


@dataclass(frozen=True, slots=True)
class Sweep:
    """A grid of runs.

    Attributes:
        runs: all of them.
        processes: that train at the same time.
    """

    runs: list[SweepRun]
    processes: int

    @classmethod
    def load(cls, path: Path, folder: Path) -> Sweep:
        """Read a sweep file.

        Args:
            path: TOML file.
            folder: for the runs.

        Raises:
            AgentError: it cannot be read, has a key or a value that means nothing, names a run
                twice, or a run that was begun with other settings.
        """
        file = read_toml(path, _File, "sweep file", AgentError)
        if file == _File():
            raise AgentError(
                f"{path} lists nothing to train; give at least one of {', '.join(AXES)}"
            )
        axes = {axis: getattr(file, axis) for axis in AXES} | _listed(path, file.hyperparams)
        runs: dict[Path, SweepRun] = {}
        for point in itertools.product(*axes.values()):
            values = dict(zip(axes, point, strict=True))
            hyperparams = {name: values.pop(name) for name in file.hyperparams}
            names = [_identity(value) for value in values.values()]
            names += [f"{name}={_text(value)}" for name, value in hyperparams.items()]
            run_folder = folder / "__".join(names).replace("/", "-")
            run = SweepRun(values, hyperparams, file.total_timesteps, run_folder)
            if run.folder in runs:
                raise AgentError(f"{path} lists the run {run.folder.name} twice; list it once")
            run.check_settings()
            runs[run.folder] = run
        return cls(list(runs.values()), file.processes or os.cpu_count() or 1)

    def run(self) -> bool:
        """Train what is not finished, then print the table; False if a run failed or is not done.

        Whatever ends it ends the trainers, too.
        """
        waiting = [run for run in self.runs if not is_finished(run.folder)]
        print(f"{len(waiting)} of {len(self.runs)} runs to be done", flush=True)
        trainers: list[_Trainer] = []
        all_well = True
        starter = ThreadPoolExecutor(1)  # signals interrupt this thread, so that none is half-begun
        try:
            while waiting or trainers:
                while waiting and len(trainers) < self.processes:
                    trainers.append(_Trainer(waiting.pop(0)))
                    starter.submit(trainers[-1].start).result()
                ended = [trainer for trainer in trainers if trainer.has_ended]
                for trainer in ended:
                    trainers.remove(trainer)
                    print(f"{trainer.run.folder.name}: {trainer.verdict}", flush=True)
                    all_well = all_well and trainer.is_well
                if not ended:
                    time.sleep(LOOK_EVERY_S)
        finally:
            starter.shutdown()
            _stop(trainers)
        _print_table(self.runs)
        return all_well


class _Trainer:
    """A process that trains, unless another one does so in the same folder."""

    def __init__(self, run: SweepRun) -> None:
        self.run = run
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        self._log = run.folder.parent / f"{run.folder.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as stream:
            # Another process may have finished it since this one listed what is to be done.
            if _locked(stream) and not is_finished(
                self.run.folder
            ):  # and so it stays while the process lives, which inherits it
                self._process = subprocess.Popen(
                    self.run.command(),
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env=os.environ | {"OMP_NUM_THREADS": "1", PARENT: str(os.getpid())},
                )

    @property
    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    @property
    def is_well(self) -> bool:
        if self._process is None:
            return is_finished(self.run.folder)
        return self._process.returncode == 0

    @property
    def verdict(self) -> str:
        if self._process is None:
            done = is_finished(self.run.folder)
            if done:
                return "left out, another process has trained it"
            return f"left out, another process trains it and holds {self._log}"
        if self.is_well:
            return "done"
        last = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
        return f"failed ({''.join(last)}), see {self._log}"

    def ask_to_stop(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def end(self, deadline_s: float) -> None:
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(deadline_s - time.monotonic(), 0.0))
        self._process.kill()
        self._process.wait()


def _listed(path: Path, hyperparams: dict[str, object]) -> dict[str, _Values]:
    """Check what msgspec, for a table with any keys, would report without the key."""
    listed = {}
    for name, values in hyperparams.items():
        try:
            listed[name] = convert(values, _Values, f"hyperparams.{name}")
        except ValueError as error:
            raise AgentError(f"{path}: {error}") from None
    return listed


def _stop(trainers: list[_Trainer]) -> None:
    for trainer in trainers:
        trainer.ask_to_stop()
    deadline_s = time.monotonic() + PATIENCE_S
    for trainer in trainers:
        trainer.end(deadline_s)


def _locked(stream: IO[bytes]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _identity(value: object) -> str:
    """A value in the name of a folder: files of one name differ by what they hold."""
    path = Path(str(value))
    file = path / CUTS_FILE if path.is_dir() else path
    if file.suffix not in (".json", ".onnx", ".toml") or not file.is_file():
        return path.name
    content = file.read_bytes()
    for name in re.findall(rb'^\s*trace\s*=\s*"([^"]+)"', content, re.MULTILINE):  # of a scenario
        trace = file.parent / os.fsdecode(name)
        content += trace.read_bytes() if trace.is_file() else b""
    return f"{path.stem}-{hashlib.sha256(content).hexdigest()[:8]}"


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rows(run: SweepRun) -> Iterator[dict[str, str]]:
    """The run's own lines over all its scenarios, or in the only one."""
    path = run.folder / "evaluation.csv"
    if not is_finished(run.folder) or not path.is_file():
        return
    with path.open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["policy"] == run.values["algo"]]
    yield rows[-1]


def _print_table(runs: list[SweepRun]) -> None:
    table = RichTable(title="sweep (modelled)", title_justify="left")
    for axis in (*AXES, *runs[0].hyperparams):
        table.add_column(axis)
    for title in ("J/inference", "ms", "in time %", "cost", "gap closed %"):
        table.add_column(title, justify="right")
    has_gaps = True
    for run in runs:
        for row in _rows(run):
            table.add_row(
                *(str(value) for value in (*run.values.values(), *run.hyperparams.values())),
                f"{float(row['energy_j']):.3f}",
                f"{1e3 * float(row['latency_s']):.1f}",
                f"{100 * float(row['deadline_hit_rate']):.1f}",
                f"{float(row['cost']):.4f}",
                "-" if row["gap_closed"] == "nan" else f"{100 * float(row['gap_closed']):.1f}",
            )
            has_gaps = has_gaps and row["gap_closed"] != "nan"
    Console(width=130).print(table)
    if not has_gaps:
        print(NO_GAP)

"""Many training runs on this machine: a grid in a TOML file, resumable, one table at the end.

algo = ["advised", "ppo"]          every list is an axis of the grid
seed = [0, 1, 2]
device = ["tx2"]
model = ["efficientnet-lite0"]
scenario = ["all"]                 each a run of its own; "all" is one run on all of them
total_timesteps = 500000           optional, one number
processes = 2                      optional, runs at the same time
"""

from __future__ import annotations

import csv
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta
from rich.console import Console
from rich.table import Table as RichTable

from agents.errors import AgentError
from agents.training.run import CONFIG_FILE, is_finished
from common.schema import Table, Text, read_toml

AXES = ("algo", "device", "model", "scenario", "seed")
_SCRIPT = Path(__file__).parents[2] / "train.py"
_Names = Annotated[tuple[Text, ...], Meta(min_length=1)]
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


@dataclass(frozen=True, slots=True)
class SweepRun:
    """One point of the grid.

    Attributes:
        values: one per axis.
        folder: of the run.
        options: of `train.py` besides.
    """

    values: dict[str, Any]
    folder: Path
    options: tuple[str, ...]

    def command(self) -> list[str]:
        """What trains it, or goes on with it."""
        command = [sys.executable, str(_SCRIPT)]
        if (self.folder / CONFIG_FILE).is_file() and (self.folder / CONFIG_FILE).stat().st_size:
            return [*command, "--resume", str(self.folder)]
        for axis, value in self.values.items():
            command += [f"--{axis}", str(value)]
        return [*command, *self.options, "--out", str(self.folder)]


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
            AgentError: it cannot be read, has a key or a value that means nothing, or is empty.
        """
        file = read_toml(path, _File, "sweep file", AgentError)
        options = (
            () if file.total_timesteps is None else ("--total-timesteps", str(file.total_timesteps))
        )
        grid = [getattr(file, axis) for axis in AXES]
        runs = []
        for values in itertools.product(*grid):
            name = "__".join(Path(str(value)).stem for value in values)
            runs.append(SweepRun(dict(zip(AXES, values, strict=True)), folder / name, options))
        return cls(runs, file.processes or os.cpu_count() or 1)

    def run(self) -> bool:
        """Train what is not finished, then print the table; False if a run failed."""
        missing = [run for run in self.runs if not is_finished(run.folder)]
        print(f"{len(self.runs)} runs, {len(missing)} to be done")
        with ThreadPoolExecutor(self.processes) as pool:  # each thread waits for a process
            succeeded = list(pool.map(_train, missing))
        _print_table(self.runs)
        return all(succeeded)


def _train(run: SweepRun) -> bool:
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    log = run.folder.parent / f"{run.folder.name}.log"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("a", encoding="utf-8") as stream:
        result = subprocess.run(
            run.command(), stdout=stream, stderr=subprocess.STDOUT, env=environment, check=False
        )
    verdict = "done" if result.returncode == 0 else f"failed, see {log}"
    print(f"{run.folder.name}: {verdict}", flush=True)
    return result.returncode == 0


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
    for axis in AXES:
        table.add_column(axis)
    for title in ("J/inference", "ms", "in time %", "cost", "gap closed %"):
        table.add_column(title, justify="right")
    for run in runs:
        for row in _rows(run):
            table.add_row(
                *(str(value) for value in run.values.values()),
                f"{float(row['energy_j']):.3f}",
                f"{1e3 * float(row['latency_s']):.1f}",
                f"{100 * float(row['deadline_hit_rate']):.1f}",
                f"{float(row['cost']):.4f}",
                f"{100 * float(row['gap_closed']):.1f}",
            )
    Console(width=130).print(table)

"""Targets of the project, measured and written down: `python -m benchmarks.bars`, `make bench`.

Writes `results/bench.md`. Takes about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agents.deployed.run_folder import RunFolder
from agents.errors import AgentError, RunFolderError
from agents.training.learn import simulated_decider
from benchmarks.page import machine, markdown
from benchmarks.policies.plan import OURS
from benchmarks.policies.run import decision_s
from benchmarks.simulator_speed import N_BOARDS, grid_s, steps_per_s, with_more_routes
from benchmarks.split_overhead import measure_floors
from common import command
from envs.sim.build import build_sim_config
from hw.calibrate.fit import calibrate
from hw.errors import HardwareError
from partition.errors import PartitionError
from partition.model.folder import ModelFolder

RESULTS = Path("results")
DATA = Path("../shared/data")
MODEL = "efficientnet-lite0"


@dataclass(frozen=True, slots=True)
class BarResult:
    """One measured figure next to its target.

    Attributes:
        what: is measured.
        bar: in words.
        measured: in words.
        ok: whether the bar is met.
        command: that measures it alone.
    """

    what: str
    bar: str
    measured: str
    ok: bool
    command: str


def main(argv: Sequence[str] | None = None) -> int:
    """Run everything; 0 when every bar is met, 1 when not, 2 on bad input."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.bars", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--data", type=Path, default=DATA, help="measured data (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="training runs (%(default)s)")
    arguments = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            bars = list(_measure(arguments.data, range(arguments.seeds), Path(scratch)))
        _write(bars)
    except (AgentError, HardwareError, PartitionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if all(bar.ok for bar in bars) else 1


def _measure(data: Path, seeds: Sequence[int], scratch: Path) -> Iterator[BarResult]:
    """Yield the bars, each printed as soon as it is known."""
    parts: list[Callable[[], Iterator[BarResult]]] = [
        lambda: _calibration(data),
        lambda: _split(ModelFolder.open(MODEL)),
        _simulation,
    ]
    parts += [partial(_training, seed, scratch / str(seed)) for seed in seeds]
    for part in parts:
        for bar in part():
            print(f"{'ok  ' if bar.ok else 'MISS'} {bar.what}: {bar.measured} ({bar.bar})")
            yield bar


def _calibration(data: Path) -> Iterator[BarResult]:
    command = f"python -m hw.calibrate --data {data}"
    for row in calibrate(data).rows:
        bar = f"<= {100 * row.bar:g} %" if row.bar is not None else "-"
        yield BarResult(row.source, bar, f"{100 * row.error:.2f} %", row.ok, command)


def _split(folder: ModelFolder) -> Iterator[BarResult]:
    floors = measure_floors(folder)
    command = f"python -m benchmarks.split_overhead --model {folder.name}"
    ratio, codec_s = floors["client_ratio"], floors["codec_s"]
    worst = max(floors["split_ratio"].values())
    what = "client to reply over bare gRPC, 400 kB on loopback"
    yield BarResult(what, "<= 1.5", f"{ratio:.2f}", ratio <= 1.5, command)
    what = "int8 encode plus decode, 400 kB of float32"
    yield BarResult(what, "<= 0.25 ms", f"{1e3 * codec_s:.3f} ms", codec_s <= 0.25e-3, command)
    what = "head plus tail over whole, slowest split point"
    yield BarResult(what, "<= 1.05", f"{worst:.3f}", worst <= 1.05, command)


def _simulation() -> Iterator[BarResult]:
    """Speed of stepping many boards, and of looking at every action of one."""
    world, command = (
        build_sim_config(model=MODEL),
        f"python -m benchmarks.simulator_speed --model {MODEL}",
    )
    rate = steps_per_s(world)
    what = f"environment steps per second, {N_BOARDS} boards, one thread"
    yield BarResult(what, ">= 400,000", f"{rate:,.0f}", rate >= 4e5, command)
    n_actions, seconds = grid_s(with_more_routes(world))
    what = f"outcomes of {n_actions:,} actions in one state, one thread"
    yield BarResult(what, "<= 2 ms", f"{1e3 * seconds:.2f} ms", seconds <= 2e-3, command)


def _training(seed: int, out: Path) -> Iterator[BarResult]:
    """Train with the default settings and judge the run."""
    command = [sys.executable, "train.py", "--seed", str(seed), "--out", str(out)]
    shown = f"python train.py --seed {seed}"
    log = subprocess.run(command, capture_output=True, text=True, check=False)
    if log.returncode != 0:
        raise RunFolderError(f"{shown} failed: {log.stderr.strip()[-200:] or 'no message'}")
    trained = next(line for line in log.stdout.splitlines() if line.startswith("trained "))
    elapsed_s = float(trained.split()[-2])
    what = f"default training, seed {seed}"
    yield BarResult(what, "<= 300 s", f"{elapsed_s:.0f} s", elapsed_s <= 300.0, shown)
    with (out / "evaluation.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        if row["policy"] == OURS and row["gap_closed"] != "nan":
            yield _share(row, seed, shown)
    yield _decision_time(RunFolder.load(out), seed, shown)


def _share(row: dict[str, str], seed: int, command: str) -> BarResult:
    mean, low, high = (
        100 * float(row[key]) for key in ("gap_closed", "gap_closed_low", "gap_closed_high")
    )
    what = f"gap closed from best-static to oracle, {row['scenario']}, seed {seed}"
    return BarResult(
        what, ">= 90 %", f"{mean:.1f} % ({low:.1f} to {high:.1f})", mean >= 90.0, command
    )


def _decision_time(run: RunFolder, seed: int, command: str) -> BarResult:
    world = build_sim_config(run.device, run.model)
    median_us = 1e6 * decision_s(world, simulated_decider(run.policy, world))
    what = f"observation to decision, median, seed {seed}"
    return BarResult(what, "<= 20 us", f"{median_us:.1f} us", median_us <= 20.0, command)


def _state(bar: BarResult) -> str:
    """A figure without a bar is neither met nor missed."""
    return "-" if bar.bar == "-" else "ok" if bar.ok else "missed"


def _write(bars: Sequence[BarResult]) -> None:
    lines = [("", "what", "bar", "measured", "command")]
    lines += [(_state(bar), bar.what, bar.bar, bar.measured, f"`{bar.command}`") for bar in bars]
    text = (
        "# Bars\n\nWritten by `make bench`. The board is modelled throughout; training figures "
        f"are of held-out episodes.\n\n{markdown(lines)}\n\nMachine:\n\n{machine()}\n"
    )
    (RESULTS / "bench.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(command.run(main))

"""Reward against minutes of learning on a board: `python -m benchmarks.testbed_curve --out DIR`.

SAC and PPO from scratch, from a simulation ("warm"), and trained on the simulation alone ("fit"),
next to the best fixed action. Five seeds on a virtual clock; with `--board emulated --device FILE`
two more in real time (root, three hours and a half each). A row is written when a run is over, so
that whatever stops it costs no more than that run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from agents.training.run import open_or_prepare
from benchmarks.live.link import exact_link
from benchmarks.live.rows import Rows
from benchmarks.page import write_page
from benchmarks.testbed_curve.arms import AFTERWARDS, ARMS, Arm, Bench, Course
from benchmarks.testbed_curve.page import page
from benchmarks.testbed_curve.task import (
    DEVICE,
    EVERY_S,
    NETWORK,
    RATES_BPS,
    RTT_S,
    gain,
    world_of,
    write_scenario,
)
from benchmarks.testbed_curve.virtual import virtual_env
from common import command
from envs.arrays import Floats
from envs.errors import EnvError

VIRTUAL, EMULATED = "virtual", "emulated"
SEEDS = {VIRTUAL: 5, EMULATED: 2}
FIRST_SEED = 2
"""Settings of `agents.testbed.recipes` were chosen with seed 1 of this task."""
KEY = ("board", "arm", "seed")
COLUMNS = (*KEY, "costs", "hits", "afterwards")
_WORK = Path("results/runs/testbed-curve")
"""What is learned in simulation, and what is not kept."""


def run_virtual(bench: Bench, arm: Arm, seed: int) -> Course:
    """One run on the virtual board."""
    folder = open_or_prepare(bench.model)
    env = virtual_env(bench.world, folder, seed)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return bench.run(arm, env, seed, Path(scratch))
        finally:
            env.close()


def run_emulated(device: Path, work: Path, arm: Arm, seed: int) -> Course:
    """One run on the emulated board, in real time.

    Raises:
        EnvError: the run failed.
    """
    with exact_link(RATES_BPS[0], RTT_S) as link, tempfile.TemporaryDirectory() as scratch:
        address = link.serve(NETWORK)
        if arm.way in ("warm", "fit"):  # the link begins when the board does
            Bench(
                world=world_of(write_scenario(Path(scratch)), str(device)),
                scenario=Path(scratch) / "alternating.toml",
                device=str(device),
                model=NETWORK,
                folder=work,
            ).simulated(arm.algorithm, seed)
        turns = round((arm.minutes + AFTERWARDS + 10) * 60.0 / EVERY_S)
        link.follow([(RATES_BPS[turn % len(RATES_BPS)], EVERY_S) for turn in range(turns)])
        options = ("--device", device, "--cloud", address, "--seed", seed)
        folders = ("--folder", work, "--scratch", scratch)
        process = link.edge("benchmarks.testbed_curve.real", arm.name, *options, *folders)
        printed, errors = process.communicate(timeout=(arm.minutes + AFTERWARDS + 20) * 60.0)
    if process.returncode:
        raise EnvError(f"{arm.name} on the emulated board failed: {errors[-500:]}")
    found = json.loads(printed.splitlines()[-1])
    return Course(**{name: np.array(values) for name, values in found.items()})


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is not there yet, and write the page."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.testbed_curve", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of page, picture and rows")
    parser.add_argument(
        "--board", choices=list(SEEDS), default=VIRTUAL, help="where to learn (%(default)s)"
    )
    parser.add_argument(
        "--device", type=Path, default=None, help="file of the emulated board, of calibrate.py"
    )
    parser.add_argument("--arm", choices=[arm.name for arm in ARMS], help="only this one")
    parser.add_argument("--seeds", type=int, default=None, help="runs of each (5, emulated 2)")
    arguments = parser.parse_args(argv)
    if arguments.board == EMULATED and arguments.device is None:
        parser.error("--board emulated needs --device FILE, which calibrate.py writes")
    return write_page(partial(_measure, arguments), arguments.out / "testbed-curve.md")


def _measure(arguments: argparse.Namespace) -> str:
    rows = Rows(arguments.out / "testbed-curve.csv", COLUMNS, KEY)
    _WORK.mkdir(parents=True, exist_ok=True)
    scenario = write_scenario(_WORK)
    world = world_of(scenario)
    bench = Bench(world=world, scenario=scenario, device=DEVICE, model=NETWORK, folder=_WORK)
    n_seeds = arguments.seeds or SEEDS[arguments.board]
    for seed in range(FIRST_SEED, FIRST_SEED + n_seeds):
        for arm in ARMS:
            key = {"board": arguments.board, "arm": arm.name, "seed": seed}
            if rows.has(key) or arguments.arm not in (None, arm.name):
                continue
            began_s = time.monotonic()
            if arguments.board == VIRTUAL:
                course = run_virtual(bench, arm, seed)
            else:
                work = _WORK / EMULATED
                work.mkdir(exist_ok=True)
                course = run_emulated(arguments.device, work, arm, seed)
            rows.add(key | {name: _text(values) for name, values in asdict(course).items()})
            print(f"{arm.name}, seed {seed}: {time.monotonic() - began_s:.0f} s", flush=True)
    return page(rows.rows, gain(world), arguments.out)


def _text(values: Floats) -> str:
    return " ".join(f"{value:.4f}" for value in values)


if __name__ == "__main__":
    sys.exit(command.run(main))

"""How good a calibration is where the truth is known: `python -m benchmarks.calibration`.

Measured tables of a Jetson TX2, of which a plan chooses a few points; and the emulated board,
measured in virtual time, whose noiseless power is in a table. Fits are kept in --rows, so that the
same command goes on after a cut.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.calibration.emulated import MINUTES, RATES_BPS, calibrated
from benchmarks.calibration.tables import ENGINES, N_DRAWS, THREE_CLOCKS, Table
from benchmarks.page import machine, markdown, write_page
from common import command
from common.progress import Progress

N_FITS = 50
NEAR = 0.03
"""Relative cost above the best that counts as none."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.calibration", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the measured data")
    parser.add_argument("--out", type=Path, default=Path("results/calibration.md"), help="the page")
    parser.add_argument("--fits", type=int, default=N_FITS, help="emulated machines (%(default)s)")
    parser.add_argument(
        "--rows", type=Path, default=Path("build/calibration.jsonl"), help="where fits are kept"
    )
    arguments = parser.parse_args(argv)
    return write_page(lambda: _page(arguments), arguments.out)


def _page(arguments: argparse.Namespace) -> str:
    fits = _fits(arguments.rows, arguments.fits)
    return f"""# Calibration where the truth is known

Made by `python -m benchmarks.calibration --data ../shared/data --fits {arguments.fits}`.

## Measured tables of a Jetson TX2

A plan chooses the points that tell most; the fit to them is held against all other points. By
chance: the median of {N_DRAWS} draws of as many points. The last line of each kind is the mean.

{markdown(_table_lines(arguments.data, ENGINES, 10))}

Three clocks, four processors:

{markdown(_table_lines(arguments.data, THREE_CLOCKS, 30))}

## The emulated board

{len(fits)} machines that differ in drift, sensor gain and noise, each measured for {MINUTES:g}
minutes of virtual time, with a network of 20 ms whose blocks take up to 10 % more or less than
operations and bytes explain; a run varies by 2 %, and one of a hundred comes 5 ms late. Power is
modelled: a table that no fit has the form of. Energy is that of one run of every head, tail and
host work at all clocks, held against the table; the interval is the fit's own of 95 %, the sensor's
gain included.
The last lines say what the best clocks and cut by the fit cost above the best in truth.

{markdown(_emulated_lines(fits))}

## Machine

{machine()}
"""


def _table_lines(data: Path, networks: Sequence[str], n_points: int) -> list[list[str]]:
    lines = [["network", "points", "chosen: mean", "largest", "by chance: mean", "largest"]]
    found = []
    for network in networks:
        table = Table(data, network, n_points)
        found.append((*table.planned(), *table.drawn()))
        of = f"{n_points} of {len(table.rows)}"
        lines.append([network, of, *(f"{100 * error:.2f} %" for error in found[-1])])
    lines.append(["mean", "", *(f"{100 * error:.2f} %" for error in np.mean(found, axis=0))])
    return lines


def _fits(path: Path, n_fits: int) -> list[dict[str, object]]:
    """Rows of the first machines; those that are not in the file yet are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    if path.is_file():
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with Progress("calibrating machines", n_fits) as progress:
        for seed in progress.each(range(len(rows), n_fits)):
            rows.append(calibrated(seed).row)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    return rows[:n_fits]


def _emulated_lines(fits: Sequence[dict[str, object]]) -> list[list[str]]:
    lines = [["", "median", "worst"]]
    for what, key in (
        ("held-out latency, mean error", "latency_mean"),
        ("held-out latency, largest error", "latency_largest"),
        ("held-out energy, mean error", "energy_held_out"),
        ("energy against the truth, mean error", "energy_mean"),
        ("energy against the truth, largest error", "energy_largest"),
    ):
        seen = np.array([fit[key] for fit in fits], dtype=np.float64)
        lines.append([what, f"{100 * np.median(seen):.2f} %", f"{100 * seen.max():.2f} %"])
    covered = np.array([fit["covered"] for fit in fits], dtype=np.float64)
    words = "share of true energies within the interval"
    lines.append([words, f"{100 * np.median(covered):.1f} %", f"{100 * covered.min():.1f} %"])
    regrets = np.array([fit["regrets"] for fit in fits], dtype=np.float64)
    for rate_bps, seen in zip(RATES_BPS, regrets.T, strict=True):
        words = f"cost above the best at {rate_bps / 1e6:g} Mbit/s"
        worst = f"{100 * seen.max():.2f} %; {np.sum(seen <= NEAR)} of {len(seen)} within {NEAR:.0%}"
        lines.append([words, f"{100 * np.median(seen):.2f} %", worst])
    return lines


if __name__ == "__main__":
    sys.exit(command.run(main))

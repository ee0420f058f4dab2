"""Table of the simulator's errors of a link's estimate, from those that were measured.

    python -m benchmarks.live.link_errors

Reads results/live-estimates.csv, which `python -m benchmarks.live estimates` makes.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.live.estimates import COLUMNS, KEY
from benchmarks.live.rows import Row, Rows
from common import command
from envs.errors import EnvError
from envs.sim import link_errors

MEASURED = Path("results/live-estimates.csv")


def main(source: Path = MEASURED, table: Path = link_errors.TABLE) -> int:
    """Write the table; returns an exit code."""
    try:
        rows = Rows(source, COLUMNS, KEY).rows
    except EnvError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not rows:
        print(
            f"error: {source} holds no runs: python -m benchmarks.live estimates", file=sys.stderr
        )
        return 2
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(link_errors.COLUMNS)
        writer.writerows(errors(rows))
    return 0


def errors(rows: Sequence[Row]) -> Iterator[list[str]]:
    """Of each cell the median of its runs, and their scatter, within them and between them."""
    cells: dict[tuple[float, ...], list[Row]] = {}
    for row in rows:
        key = tuple(float(row[name]) for name in link_errors.COLUMNS[:3])
        cells.setdefault(key, []).append(row)
    for key, found in sorted(cells.items()):
        bias = np.array([float(row["median"]) for row in found])
        within = np.array([float(row["scatter"]) for row in found])
        scatter = np.sqrt((within**2).mean() + np.log(bias).var())
        yield [f"{value:g}" for value in (*key, float(np.median(bias).round(3)), scatter.round(3))]


if __name__ == "__main__":
    sys.exit(command.run(main))

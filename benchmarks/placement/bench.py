"""Speed and quality of the planner: `python -m benchmarks.placement.bench [--out FILE.json]`.

Families of random instances (`published/instances.py`) and the published problem with its largest
network, at the sizes of the bars: 12 devices and 120 cuts, 50 and 100, 500 and 100. Seconds are the
processor's, so that what else runs on the machine does not count; the search uses one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.placement.published.cost_model import (
    MB,
    chain_of,
    published_problem,
    random_cluster,
)
from benchmarks.placement.published.instances import FAMILIES
from benchmarks.placement.published.networks import NETWORKS
from partition import cli
from partition.model.machine import describe_processor
from partition.placement.solver.bisection import solve_throughput
from partition.placement.solver.problem import Problem

Make = Callable[[int, int, np.random.Generator], Problem]
SIZES = ((12, 119, 5.0), (50, 99, 10.0), (500, 99, 60.0))
"""Devices, blocks (one less than cuts), seconds allowed."""
_PUBLISHED = "InceptionResNetV2"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacementRow:
    """A family at a size; medians and worst over its instances."""

    family: str
    devices: int
    cuts: int
    instances: int
    proved: int
    median_gap: float
    worst_gap: float
    median_s: float
    worst_s: float


def measure(sizes: tuple[tuple[int, int, float], ...], instances: int) -> list[PlacementRow]:
    """Solve every family at every size; single instances from 500 devices on."""
    families: dict[str, Make] = {**FAMILIES, f"published, {_PUBLISHED}, 64 MB": _published}
    return [
        _row(name, make, size, 1 if size[0] >= 500 else instances)
        for size in sizes
        for name, make in families.items()
    ]


def _published(n: int, _: int, rng: np.random.Generator) -> Problem:
    return published_problem(chain_of(NETWORKS[_PUBLISHED]()), random_cluster(n, rng), 64 * MB)


def _row(name: str, make: Make, size: tuple[int, int, float], instances: int) -> PlacementRow:
    n, n_blocks, limit_s = size
    gaps, seconds, cuts = [], [], 0
    for seed in range(instances):
        problem = make(n, n_blocks, np.random.default_rng(seed))
        cuts = problem.n_blocks + 1
        start_s = time.process_time()
        found = solve_throughput(problem, time_limit_s=limit_s, clock=time.process_time)
        seconds.append(time.process_time() - start_s)
        bounded = found.bound_s > 0 and found.steps
        gaps.append(found.period_s / found.bound_s - 1 if bounded else 0.0)
        if not found.proved and not bounded:
            gaps[-1] = float("inf")
        sys.stderr.write(f"{name}, {n}: gap {gaps[-1]:.2%} in {seconds[-1]:.2f} s\n")
    return PlacementRow(
        family=name,
        devices=n,
        cuts=cuts,
        instances=instances,
        proved=sum(gap == 0 for gap in gaps),
        median_gap=statistics.median(gaps),
        worst_gap=max(gaps),
        median_s=statistics.median(seconds),
        worst_s=max(seconds),
    )


def to_json(rows: list[PlacementRow]) -> str:
    """For a file that `benchmarks.placement.compare` reads."""
    result = {"machine": describe_processor(), "rows": [asdict(row) for row in rows]}
    return json.dumps(result, indent=1) + "\n"


def table(rows: list[PlacementRow]) -> list[str]:
    """Markdown."""
    lines = [
        "| family | devices | cuts | proved | gap, median | worst | seconds, median | worst |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.family} | {row.devices} | {row.cuts} | {row.proved} of {row.instances} | "
            f"{row.median_gap:.2%} | {row.worst_gap:.2%} | {row.median_s:.2f} | "
            f"{row.worst_s:.2f} |"
        )
    return lines


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.placement.bench")
    parser.add_argument("--instances", type=cli.positive, default=5, help="of each family")
    parser.add_argument(
        "--devices", type=cli.positive, help="only the size with so many (12, 50 or 500)"
    )
    parser.add_argument("--out", type=Path, help="JSON file for benchmarks.placement.compare")
    arguments = parser.parse_args()
    sizes = tuple(size for size in SIZES if arguments.devices in (None, size[0]))
    rows = measure(sizes, arguments.instances)
    sys.stdout.write("\n".join(table(rows)) + "\n")
    if arguments.out:
        arguments.out.write_text(to_json(rows), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(cli.run(_main))

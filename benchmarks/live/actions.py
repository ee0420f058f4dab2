"""Fixed actions, live and simulated, row by row."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.live.cell import LiveRun
from benchmarks.live.figures import (
    USUAL_GFLOP_PER_S,
    Figures,
    live_figures,
    predicted,
    server_gflop_per_s,
)
from benchmarks.live.link import ExactLink, exact_link
from benchmarks.live.plan import BOARD, CONTROL, DEVICE, Cell
from benchmarks.live.rows import Rows
from envs.errors import EnvError
from partition.model.folder import ModelFolder

KEY = ("action", "rate_mbps", "rtt_ms", "repeat")
_COMPARED = ("latency_s", "in_time", "energy_j", "cost", "fell_back")
COLUMNS = (
    *KEY,
    "requests",
    "tries",
    "control_off",
    "gflop_per_s",
    *(f"{side}_{name}" for name in _COMPARED for side in ("live", "sim")),
)
CONTROL_S = 6.0
DISTURBED = 0.03
"""A run is taken again if the latency of the control before it is off by more than that."""
MAX_TRIES = 3
_RUN_TIMEOUT_S = 120.0


def measure(
    rows: Rows,
    cells: Iterable[Cell],
    folder: ModelFolder,
    *,
    repeats: int,
    seconds: float,
    report: Callable[[str], object],
) -> None:
    """Add the rows that are missing.

    Raises:
        EnvError: live runs are not possible here, or one failed.
    """
    todo = [
        (cell, repeat)
        for repeat in range(repeats)  # outermost, so that all cells meet the same disturbances
        for cell in cells
        if not rows.has(asdict(cell) | {"repeat": repeat})
    ]
    for n, (cell, repeat) in enumerate(todo):
        report(
            f"{n + 1} of {len(todo)}: {cell.action}, {cell.rate_mbps:g} Mbit/s, {cell.rtt_ms:g} ms"
        )
        with (
            tempfile.TemporaryDirectory() as directory,
            exact_link(cell.rate_mbps * 1e6, cell.rtt_ms / 1e3) as link,
        ):
            rows.add(_row(cell, repeat, folder, link, Path(directory), seconds))


def _row(
    cell: Cell, repeat: int, folder: ModelFolder, link: ExactLink, directory: Path, seconds: float
) -> dict[str, Any]:
    """Run a cell behind a control, again while the control is disturbed."""
    address = link.serve(str(folder.path))

    def run(which: Cell, gflop_per_s: float, seconds: float) -> dict[str, Any]:
        scenario = which.scenario(directory, gflop_per_s)
        what = LiveRun(
            board=BOARD,
            device=DEVICE,
            model=str(folder.path),
            scenario=str(scenario),
            cloud=address,
            seconds=seconds,
            seed=repeat,
            action=which.indices,
        )
        return _edge(link, what)

    control = Cell(CONTROL, cell.rate_mbps, cell.rtt_ms)
    flops = folder.routes[cell.indices[-1]].cloud_flops
    expected = predicted(folder, control, USUAL_GFLOP_PER_S, directory)
    tries, off = 0, 1.0
    while abs(off) > DISTURBED and tries < MAX_TRIES:
        tries += 1
        quiet = live_figures(run(control, USUAL_GFLOP_PER_S, CONTROL_S))
        off = quiet.latency_s / expected.latency_s - 1.0
        found = run(cell, USUAL_GFLOP_PER_S, seconds)
    live, gflop_per_s = live_figures(found), server_gflop_per_s(found, flops)
    simulated = predicted(folder, cell, gflop_per_s, directory)
    return (
        asdict(cell)
        | {"repeat": repeat, "requests": round(live.requests), "tries": tries}
        | {"control_off": off, "gflop_per_s": gflop_per_s}
        | _prefixed("live", live)
        | _prefixed("sim", simulated)
    )


def _prefixed(side: str, figures: Figures) -> dict[str, float]:
    return {f"{side}_{name}": getattr(figures, name) for name in _COMPARED}


def _edge(link: ExactLink, what: LiveRun) -> dict[str, Any]:
    process = link.edge("benchmarks.live.cell", json.dumps(asdict(what)))
    printed, errors = process.communicate(timeout=_RUN_TIMEOUT_S)
    if process.returncode:
        raise EnvError(f"a live run failed: {errors.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found

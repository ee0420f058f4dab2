"""Fixed actions, live and simulated, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from agents.deciders.static import Static
from benchmarks.live.figures import (
    Figures,
    SeenServer,
    live_figures,
    predicted,
    world_of,
)
from benchmarks.live.plan import Cell
from benchmarks.live.rows import Rows
from benchmarks.live.session import START_S, LiveSession, live_session
from benchmarks.live.side_by_side import side_by_side
from benchmarks.live.this_machine import ThisMachine, measured
from envs.sim.sim_config import SimConfig
from partition.model.folder import ModelFolder

KEY = ("board", "action", "rate_mbps", "rtt_ms", "repeat")
_COMPARED = ("latency_s", "p95_s", "in_time", "energy_j", "cost", "fell_back")
COLUMNS = (
    *KEY,
    "requests",
    "tries",
    "control_off",
    "gflop_per_s",
    "request_s",
    "byte_s",
    *(f"{side}_{name}" for name in _COMPARED for side in ("live", "sim")),
)
CONTROL_S = 6.0
DISTURBED = 0.03
"""A run is taken again if the board's time per request in the control before it is off by more."""
MAX_TRIES = 3


def measure(
    rows: Rows,
    cells: Iterable[Cell],
    folder: ModelFolder,
    devices: Mapping[str, str],
    *,
    repeats: int,
    seconds: float,
    n_jobs: int,
    report: Callable[[str], object],
) -> None:
    """Add the rows that are missing.

    Args:
        rows: of the table.
        cells: to run.
        folder: the network.
        devices: that the boards are, by their names.
        repeats: of each cell.
        seconds: of a run.
        n_jobs: runs at a time.
        report: called with a line of progress.

    Raises:
        EnvError: live runs are not possible here, or one failed.
    """
    todo = [
        (cell, repeat)
        for repeat in range(repeats)  # outermost, so that all cells meet the same disturbances
        for cell in cells
        if not rows.has(asdict(cell) | {"repeat": repeat})
    ]
    report(duration(len(todo), seconds, n_jobs))
    if not todo:
        return
    machine = measured(folder, *next(iter(devices.items())))
    report(described(machine))

    def run(what: tuple[Cell, int]) -> dict[str, Any]:
        cell, repeat = what
        with live_session(folder, cell.course) as session:
            return _row(cell, repeat, session, devices[cell.board], seconds, machine)

    for n, row in enumerate(side_by_side(todo, run, n_jobs)):
        rows.add(row)
        report(
            f"{n + 1} of {len(todo)}: {row['board']}, {row['action']}, {row['rate_mbps']:g} "
            f"Mbit/s, {row['rtt_ms']:g} ms; the control was off by {100 * row['control_off']:.1f} %"
        )


def described(machine: ThisMachine) -> str:
    """What was measured, in words."""
    return (
        f"the server computes {machine.gflop_per_s:.0f} GFLOP/s; beside the network a request "
        f"takes {1e3 * machine.request_s:.1f} ms, and {1e9 * machine.byte_s:.0f} ms a megabyte"
    )


def duration(n: int, seconds: float, n_jobs: int) -> str:
    """How long so many runs take, in words."""
    minutes = n * (seconds + CONTROL_S + START_S) / 60.0 / n_jobs
    return f"{n} runs, about {minutes:.0f} minutes if nothing disturbs them"


def _row(
    cell: Cell,
    repeat: int,
    session: LiveSession,
    device: str,
    seconds: float,
    machine: ThisMachine,
) -> dict[str, Any]:
    """Run a cell behind a control, again while the control is disturbed."""
    run = partial(
        session.run,
        cell.course,
        seconds,
        repeat,
        board=cell.board,
        device=device,
        gflop_per_s=machine.gflop_per_s,
        action=cell.indices,
    )
    world = world_of(device, session.folder, cell.course, machine.gflop_per_s)
    found, tries, off = behind_control(run, world)
    server = SeenServer.of(found, session.folder, machine.gflop_per_s)
    prediction = simulated(cell, session.folder, device, seconds, server, machine)
    live = live_figures(found)
    return (
        asdict(cell)
        | {"repeat": repeat, "requests": round(live.requests), "tries": tries}
        | {"control_off": off, "gflop_per_s": server.gflop_per_s}
        | {"request_s": machine.request_s, "byte_s": machine.byte_s}
        | prefixed("live", live)
        | prefixed("sim", prediction)
    )


def behind_control(
    run: Callable[..., dict[str, Any]], world: SimConfig
) -> tuple[dict[str, Any], int, float]:
    """A run that a control precedes, again while that is disturbed.

    Args:
        run: `LiveSession.run`, all but `control_s` given.
        world: whose board computes the network alone at the highest clocks.

    Returns:
        What the run brought, the number of tries, and by how much the control was off.
    """
    expected_s = world.objective().reference_latency_s
    tries, off = 0, 1.0
    while abs(off) > DISTURBED and tries < MAX_TRIES:
        tries += 1
        found = run(control_s=CONTROL_S)
        off = _edge_s(found["control"]) / expected_s - 1.0
    return found, tries, off


def _edge_s(found: dict[str, Any]) -> float:
    return float(np.mean([request["edge_s"] for request in found["requests"]]))


def simulated(
    cell: Cell,
    folder: ModelFolder,
    device: str,
    seconds: float,
    server: SeenServer,
    machine: ThisMachine,
) -> Figures:
    """The simulator's prediction of a cell."""
    world = machine.met(device, folder, cell.course, server)
    sizes = [len(axis.values) for axis in world.layout.axes]
    action = tuple(i % size for i, size in zip(cell.indices, sizes, strict=True))
    return predicted(world, cell.course, Static(action), seconds, server).figures


def prefixed(side: str, figures: Figures) -> dict[str, float]:
    """Columns of a row."""
    return {f"{side}_{name}": getattr(figures, name) for name in _COMPARED}

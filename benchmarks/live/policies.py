"""Policies and other deciders, live and simulated, row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agents.deployed.run_folder import RunFolder
from agents.training.learn import simulated_decider
from benchmarks.live.actions import behind_control, described, duration
from benchmarks.live.course import RECORDED_S, Course
from benchmarks.live.deciders import LEARNED, PROMISING, fitted, learned, promising
from benchmarks.live.figures import (
    Prediction,
    SeenServer,
    latencies,
    live_figures,
    live_readings,
    predicted,
    weighted_quantiles,
    world_of,
)
from benchmarks.live.plan import BOARDS
from benchmarks.live.readings import READ, reading_rows
from benchmarks.live.rows import Row, Rows
from benchmarks.live.session import LiveSession, live_session
from benchmarks.live.side_by_side import side_by_side
from benchmarks.live.this_machine import ThisMachine, measured
from envs.arrays import Floats
from partition.model.folder import ModelFolder

KEY = ("link", "decider", "repeat")
COMPARED = ("cost", "in_time", "p95_s", "latency_s", "energy_j", "fell_back")
SIDES = ("live", "sim")
COLUMNS = (
    *KEY,
    "requests",
    "tries",
    "control_off",
    "gflop_per_s",
    "request_s",
    "byte_s",
    *(f"{side}_{name}" for name in COMPARED for side in SIDES),
    *(f"{side}_quantiles_ms" for side in SIDES),
)
_EDGES = np.r_[np.linspace(0.0, 0.8, 21), np.linspace(0.805, 1.0, 40)]
WEIGHTS, SHARES = np.diff(_EDGES), (_EDGES[1:] + _EDGES[:-1]) / 2
"""Quantiles of the latencies that a row keeps, and what each stands for, so that the requests of a
cell can be pooled."""
REPEATS, SECONDS = 6, float(RECORDED_S)
"""1,680 requests in a cell at 7 a second."""
BOARD = "sim"


def measure(
    rows: Rows,
    readings: Rows,
    links: Sequence[Course],
    names: Sequence[str],
    folder: ModelFolder,
    runs: Path,
    *,
    repeats: int,
    seconds: float,
    n_jobs: int,
    report: Callable[[str], object],
) -> None:
    """Add the rows that are missing.

    Args:
        rows: of the table.
        readings: of the table of what deciders saw.
        links: with their requests.
        names: of deciders.
        folder: the network.
        runs: where run folders are, or come.
        repeats: of each cell.
        seconds: of a run.
        n_jobs: runs at a time.
        report: called with a line of progress.

    Raises:
        AgentError: a decider cannot be trained or read.
        EnvError: live runs are not possible here, or one failed.
    """
    todo = [
        (course, name, repeat)
        for repeat in range(repeats)  # outermost, so that all cells meet the same disturbances
        for course in links
        for name in names
        if not rows.has(dict(zip(KEY, (course.name, name, repeat), strict=True)))
    ]
    report(duration(len(todo), seconds, n_jobs))
    if not todo:
        return
    trained = {
        name: learned(name, BOARDS[BOARD], folder, runs, report)
        for name in LEARNED
        if name in names or (name == "advised" and PROMISING in names)
    }
    if PROMISING in names:
        trained[PROMISING] = promising(trained["advised"], runs)
    machine = measured(folder, BOARD, BOARDS[BOARD])
    report(described(machine))
    decides = {
        (course, name): trained.get(name)
        or fitted(name, BOARDS[BOARD], folder, course, machine.gflop_per_s, runs)
        for course in links
        for name in names
    }

    def run(what: tuple[Course, str, int]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        course, name, repeat = what
        key = dict(zip(KEY, (course.name, name, repeat), strict=True))
        met = course.from_second(round(repeat * seconds))
        with live_session(folder, met) as session:
            row, live, simulation = _row(
                met, decides[course, name], repeat, session, seconds, machine
            )
        seen = reading_rows(live, simulation) if name in READ else ()
        return key | row, [key | reading for reading in seen]

    for n, (row, seen) in enumerate(side_by_side(todo, run, n_jobs)):
        for reading in seen:
            if not readings.has(reading):
                readings.add(reading)
        rows.add(row)
        report(
            f"{n + 1} of {len(todo)}: {row['decider']}, {row['link']}; the control was off by "
            f"{100 * row['control_off']:.1f} %"
        )


def _on_board(session: LiveSession, gflop_per_s: float) -> Callable[..., dict[str, Any]]:
    """`LiveSession.run` of the board, with this server."""
    return partial(session.run, board=BOARD, device=BOARDS[BOARD], gflop_per_s=gflop_per_s)


def _row(
    course: Course,
    run: Path,
    repeat: int,
    session: LiveSession,
    seconds: float,
    machine: ThisMachine,
) -> tuple[dict[str, Any], Mapping[str, Floats], Mapping[str, Floats]]:
    """A row, and the readings of both sides: live behind a control, again while that is off."""
    folder, on_board = session.folder, _on_board(session, machine.gflop_per_s)
    found, tries, off = behind_control(
        partial(on_board, course, seconds, repeat, run=run),
        world_of(BOARDS[BOARD], folder, course, machine.gflop_per_s),
    )
    live = live_figures(found)
    server = SeenServer.of(found, folder, machine.gflop_per_s)
    prediction = simulate(run, course, folder, seconds, server, machine)
    sides = {"live": live, "sim": prediction.figures}
    row: dict[str, Any] = {"requests": round(live.requests), "tries": tries, "control_off": off}
    row |= {
        "gflop_per_s": server.gflop_per_s,
        "request_s": machine.request_s,
        "byte_s": machine.byte_s,
    }
    row |= {"live_quantiles_ms": _kept(latencies(found))}
    row |= {"sim_quantiles_ms": _kept(prediction.latencies_s)}
    row |= {f"{side}_{name}": getattr(sides[side], name) for name in COMPARED for side in SIDES}
    return row, live_readings(found, course), prediction.readings


def simulate(
    run: Path,
    course: Course,
    folder: ModelFolder,
    seconds: float,
    server: SeenServer,
    machine: ThisMachine,
) -> Prediction:
    """The simulator's prediction of a run folder's policy."""
    world = machine.met(BOARDS[BOARD], folder, course, server)
    policy = RunFolder.load(run).policy
    return predicted(world, course, simulated_decider(policy, world), seconds, server)


def _kept(latencies_s: Floats) -> str:
    return " ".join(f"{1e3 * value:.1f}" for value in np.quantile(latencies_s, SHARES))


def pooled_p95_s(found: Sequence[Row], side: str) -> float:
    """95th percentile of all requests of some rows, s."""
    kept = [np.array(row[f"{side}_quantiles_ms"].split(), dtype=np.float64) for row in found]
    weights = [WEIGHTS * float(row["requests"]) for row in found]
    p95 = np.array([0.95])
    (found_ms,) = weighted_quantiles(np.concatenate(kept), np.concatenate(weights), p95)
    return 1e-3 * float(found_ms)

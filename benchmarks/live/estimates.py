"""Estimates of links whose rate is known, row by row."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.live.course import PAYLOAD
from benchmarks.live.estimate_cell import EstimateCell, Reading
from benchmarks.live.link import ExactLink, exact_link
from benchmarks.live.plan import ARRIVAL_HZ, RTTS_MS
from benchmarks.live.rows import Rows
from envs.errors import EnvError
from partition.model.folder import ModelFolder

KEY = ("sends", "rate_mbps", "rtt_ms", "repeat")
COLUMNS = (*KEY, "bytes", "median", "within_10", "within_25", "scatter", "rtt_read_ms", "age_s")
RATES_MBPS = (2.0, 10.0, 50.0, 200.0)
SENDS: dict[str, int | None] = {"nothing": None, "input": 0, "75 kB cut": 1, "16 kB cut": 3}
DEADLINE_S = 5.0
_WARM_UP = 4
_ONE_SIGMA = (0.159, 0.841)
_TIMEOUT_S = 120.0


def measure(
    rows: Rows,
    folder: ModelFolder,
    rates_mbps: Sequence[float],
    *,
    repeats: int,
    seconds: float,
    report: Callable[[str], object],
) -> None:
    """Add the rows that are missing.

    Raises:
        EnvError: live runs are not possible here, or one failed.
    """
    keys = [
        (sends, rate_mbps, rtt_ms, repeat)
        for repeat in range(repeats)
        for rtt_ms in RTTS_MS
        for rate_mbps in rates_mbps
        for sends in SENDS
    ]
    todo = [key for key in keys if not rows.has(dict(zip(KEY, key, strict=True)))]
    for n, key in enumerate(todo):
        sends, rate_mbps, rtt_ms, _ = key
        report(f"{n + 1} of {len(todo)}: {sends}, {rate_mbps:g} Mbit/s, {rtt_ms:g} ms")
        with undisturbed(), exact_link(rate_mbps * 1e6, rtt_ms / 1e3) as link:
            seen = finished(start(link, folder, sends, seconds, DEADLINE_S))
        split = SENDS[sends]
        n_bytes = 0 if split is None else folder.split_points[split].wire_bytes
        found = {"bytes": n_bytes} | _judged(seen, rate_mbps * 1e6)
        rows.add(dict(zip(KEY, key, strict=True)) | found)


def start(
    link: ExactLink, folder: ModelFolder, sends: str, seconds: float, deadline_s: float
) -> subprocess.Popen[str]:
    """Let a board estimate a link whose server is started, too."""
    what = EstimateCell(
        model=str(folder.path),
        cloud=link.serve(str(folder.path)),
        seconds=seconds,
        rate_hz=ARRIVAL_HZ,
        split=SENDS[sends],
        deadline_s=deadline_s,
    )
    return link.edge("benchmarks.live.estimate_cell", json.dumps(asdict(what)))


def finished(process: subprocess.Popen[str]) -> list[Reading]:
    """What it read.

    Raises:
        EnvError: it failed.
    """
    printed, errors = process.communicate(timeout=_TIMEOUT_S)
    if process.returncode:
        raise EnvError(f"a run of the link's estimate failed: {errors.strip()}")
    return [Reading(**each) for each in json.loads(printed.splitlines()[-1])]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Processes started within go before all others; what else a machine does is not meant.

    A train of messages takes 10 ms: where a server or a board waits for a processor for some of
    that, the processor is measured.
    """
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _judged(seen: list[Reading], rate_bps: float) -> dict[str, Any]:
    """Estimated over true rate, of messages."""
    seen = [each for each in seen if each.took_s is None]
    ratio = np.array([each.link_bps for each in seen[_WARM_UP:]]) / (rate_bps * PAYLOAD)
    low, high = np.quantile(np.log(ratio), _ONE_SIGMA)
    return {
        "median": float(np.median(ratio)),
        "within_10": float(np.mean(np.abs(ratio - 1.0) <= 0.1)),
        "within_25": float(np.mean(np.abs(ratio - 1.0) <= 0.25)),
        "scatter": float(high - low) / 2.0,
        "rtt_read_ms": 1e3 * float(np.median([each.rtt_s for each in seen])),
        "age_s": float(np.median([each.age_s for each in seen[_WARM_UP:]])),
    }

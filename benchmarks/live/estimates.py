"""Estimates of links whose rate is known, row by row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.live.course import PAYLOAD
from benchmarks.live.estimate_cell import EstimateCell
from benchmarks.live.link import exact_link
from benchmarks.live.plan import ARRIVAL_HZ, RTTS_MS
from benchmarks.live.rows import Rows
from envs.errors import EnvError
from partition.model.folder import ModelFolder

KEY = ("sends", "rate_mbps", "rtt_ms", "repeat")
COLUMNS = (*KEY, "median", "within_10", "within_25", "rtt_read_ms")
RATES_MBPS = (2.0, 10.0, 50.0, 200.0)
SENDS: dict[str, int | None] = {"nothing": None, "input": 0, "75 kB cut": 1, "16 kB cut": 3}
_WARM_UP = 4
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
        with exact_link(rate_mbps * 1e6, rtt_ms / 1e3) as link:
            what = EstimateCell(
                model=str(folder.path),
                cloud=link.serve(str(folder.path)),
                seconds=seconds,
                rate_hz=ARRIVAL_HZ,
                split=SENDS[sends],
            )
            process = link.edge("benchmarks.live.estimate_cell", json.dumps(asdict(what)))
            printed, errors = process.communicate(timeout=_TIMEOUT_S)
        if process.returncode:
            raise EnvError(f"a run of the link's estimate failed: {errors.strip()}")
        found = _judged(json.loads(printed.splitlines()[-1]), rate_mbps * 1e6)
        rows.add(dict(zip(KEY, key, strict=True)) | found)


def _judged(seen: list[dict[str, float]], rate_bps: float) -> dict[str, Any]:
    """Estimated over true rate, of messages."""
    ratio = np.array([each["link_bps"] for each in seen[_WARM_UP:]]) / (rate_bps * PAYLOAD)
    return {
        "median": float(np.median(ratio)),
        "within_10": float(np.mean(np.abs(ratio - 1.0) <= 0.1)),
        "within_25": float(np.mean(np.abs(ratio - 1.0) <= 0.25)),
        "rtt_read_ms": 1e3 * float(np.median([each["rtt_s"] for each in seen])),
    }

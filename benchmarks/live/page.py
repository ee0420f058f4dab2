"""Pages of the live runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.live import changes
from benchmarks.live.actions import DISTURBED
from benchmarks.live.actions import KEY as ACTION_KEY
from benchmarks.live.changes import KEY as CHANGE_KEY
from benchmarks.live.estimates import KEY as ESTIMATE_KEY
from benchmarks.live.rows import Row
from benchmarks.page import machine, markdown

RELATIVE = {"latency_s": 0.10, "energy_j": 0.05, "cost": 0.05}
POINTS = 0.02
"""In time, or the interval of the repeats, whichever is wider."""
Z = 1.96


def actions_page(rows: Sequence[Row]) -> str:
    """Medians over the repeats of each cell, and whether they meet the bars."""
    head = ["action", "Mbit/s", "rtt ms", "runs", "requests", "control off %"]
    for name in ("ms", "in time", "J", "cost", "fallbacks"):
        head += [f"{name}: live", "simulated"]
    lines, n_met = [[*head, "missed"]], 0
    for key, found in _cells(rows, ACTION_KEY[:-1]).items():
        missed = _missed(found)
        n_met += not missed
        line = [*key, str(len(found)), f"{sum(float(r['requests']) for r in found):.0f}"]
        line.append(f"{100 * _median(found, 'control_off'):+.1f}")
        for name, scale in (("latency_s", 1e3), ("in_time", 1.0), ("energy_j", 1.0), ("cost", 1.0)):
            line += [f"{scale * _median(found, f'{side}_{name}'):.3g}" for side in ("live", "sim")]
        line += [f"{_median(found, f'{side}_fell_back'):.2f}" for side in ("live", "sim")]
        lines.append([*line, ", ".join(missed) or "-"])
    disturbed = sum(abs(float(row["control_off"])) > DISTURBED for row in rows)
    return f"""# Live runs beside the simulator

Medians over the runs of a cell: the real pipeline, a real server, and a link of exact rate and
delay, on a modelled board; and the simulator for the same requests and link, with the server's
measured speed. Bars: latency within 10 %, share in time within 2 points or the interval of the
runs, energy and cost within 5 %. {n_met} of {len(lines) - 1} cells meet all of them. Of {len(rows)}
runs, {sum(int(row["tries"]) - 1 for row in rows)} were taken again because the control before them
was off by more than 3 %, and {disturbed} remained so.

{markdown(lines)}

`python -m benchmarks.live actions` on

{machine()}
"""


def estimates_page(rows: Sequence[Row]) -> str:
    """Medians over the repeats of each cell."""
    lines = [
        ["sends", "Mbit/s", "rtt ms", "runs", "median", "within 10 %", "within 25 %", "rtt read ms"]
    ]
    n_met = 0
    for key, found in _cells(rows, ESTIMATE_KEY[:-1]).items():
        median, close = _median(found, "median"), _median(found, "within_25")
        n_met += abs(median - 1.0) <= 0.1 and close >= 0.9
        shown = (median, _median(found, "within_10"), close)
        line = [*key, str(len(found)), *(f"{value:.2f}" for value in shown)]
        lines.append([*line, f"{_median(found, 'rtt_read_ms'):.1f}"])
    return f"""# What a board takes a link for

Estimated over true rate of messages, read once per control step, medians over runs. Bars: median
within 10 %, 90 % of the readings within 25 %. {n_met} of {len(lines) - 1} cells meet both. Board
and server go before all else that the machine does: a late processor is not to be measured.

{markdown(lines)}

`python -m benchmarks.live estimates` on

{machine()}
"""


def changes_page(rows: Sequence[Row]) -> str:
    """How many requests each kind of change surprised, and after how long it was known."""
    head = ["sends", "Mbit/s", "to", "rtt ms", "changes", "known after s", "the slowest"]
    lines = [[*head, "requests until then", "the most", "right afterwards"]]
    n_met = n_all = 0
    for key, found in _cells(rows, CHANGE_KEY[:-1]).items():
        known_s = [float(row["known_s"]) for row in found]
        surprised = [int(row["surprised"]) for row in found]
        n_all += len(found)
        n_met += sum(
            s <= changes.KNOWN_S if n == 0 else n == 1
            for n, s in zip(surprised, known_s, strict=True)
        )
        line = [*key, str(len(found)), f"{np.median(known_s):.2f}", f"{max(known_s):.2f}"]
        line += [f"{np.median(surprised):.1f}", str(max(surprised))]
        lines.append([*line, f"{_median(found, 'right_after'):.2f}"])
    return f"""# When a board knows of a change

The rate of a link changes by ten times. Known: the estimate is within 25 % of the new rate, as it
is read at each control step and before each request. Requests until then: sent on the new link,
with 0.1 s for an answer. Bar: one at most, and where none is sent {changes.KNOWN_S:g} s at most,
the period in which an idle link is probed. {n_met} of {n_all} changes meet it; a second
request leaves where the first one and a train after it take longer than the 0.1 s between two.
Right afterwards: share of the later readings within 25 %.

{markdown(lines)}

`python -m benchmarks.live changes` on

{machine()}
"""


def _missed(found: Sequence[Row]) -> list[str]:
    """Bars that a cell does not meet."""
    missed = [
        name
        for name, bar in RELATIVE.items()
        if abs(_median(found, f"live_{name}") / _median(found, f"sim_{name}") - 1.0) > bar
    ]
    live = np.array([float(row["live_in_time"]) for row in found])
    spread = Z * live.std(ddof=1) / np.sqrt(len(live)) if len(live) > 1 else 0.0
    if abs(np.median(live) - _median(found, "sim_in_time")) > max(POINTS, float(spread)):
        missed.append("in_time")
    return missed


def _median(found: Sequence[Row], name: str) -> float:
    return float(np.median([float(row[name]) for row in found]))


def _cells(rows: Sequence[Row], key: Sequence[str]) -> dict[tuple[str, ...], list[Row]]:
    cells: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        cells.setdefault(tuple(row[name] for name in key), []).append(row)
    return cells

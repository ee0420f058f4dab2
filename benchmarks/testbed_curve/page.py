"""Page and picture of the curve, from its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from agents.evaluation.palette import BLUE, LEARNED, MUTED
from agents.evaluation.plots import save
from benchmarks.live.rows import Row
from benchmarks.page import machine, markdown
from benchmarks.testbed_curve.arms import AFTERWARDS, ALGORITHMS, ARMS, BEST_STATIC, MINUTES, Arm
from benchmarks.testbed_curve.task import DEVICE, EVERY_S, NETWORK, RATES_BPS
from envs.arrays import Floats

TRAILING = 3
"""Minutes over which a policy is to be better, so that one lucky one does not count."""
BARS = {"warm": 10, "scratch": 60}
"""Minutes within which a policy is to be better than the best fixed action."""
_LINES = {"scratch": "-", "warm": "--", "fit": ":"}
PICTURE = "testbed-curve.png"


def costs_of(rows: Iterable[Row], board: str, arm: Arm, column: str = "costs") -> Floats:
    """Cost of a step in each minute, while it learned or afterwards, shape (n_seeds, n_minutes)."""
    mine = [row for row in rows if (row["board"], row["arm"]) == (board, arm.name)]
    return np.array([[float(cost) for cost in row[column].split()] for row in mine])


def better_after(costs: Floats, static: float) -> int | None:
    """Minutes until the last few cost less than the best fixed action; None if they never do."""
    for minute in range(TRAILING, len(costs) + 1):
        if costs[minute - TRAILING : minute].mean() < static:
            return minute
    return None


def page(rows: Sequence[Row], gain: float, folder: Path) -> str:
    """The page; the picture goes next to it.

    Args:
        rows: of all runs.
        gain: share by which an oracle costs less than the best fixed action in the simulator.
        folder: of the page.
    """
    boards = list(dict.fromkeys(row["board"] for row in rows))
    save(_figure(rows, boards), folder / PICTURE)
    fast, slow = (rate / 1e6 for rate in RATES_BPS)
    tables = "\n\n".join(f"## Board {board}\n\n{_table(rows, board)}" for board in boards)
    return f"""# Learning on a board, minute by minute

    python -m benchmarks.testbed_curve --out results

{NETWORK} on a board whose uplink is {fast:g} and {slow:g} Mbit/s by turns, {EVERY_S:g} s each;
clocks and power are modelled. In the simulator an oracle costs {100 * gain:.1f} % less there than
the best fixed action; the task was chosen for that, in 17 others that were tried it is less than a
tenth. `virtual`: a {DEVICE} whose time passes only when it is waited for, with the
environment, plant and pipeline of a live board; it computes and draws otherwise than its device
file says, by factors that differ from seed to seed. `emulated`: in real time. Cost is that of the
steps while it learns, exploration included. "better after": minutes until {TRAILING} in a row cost
less than the best fixed action of the device file did on these boards, in the mean. "afterwards":
{AFTERWARDS} minutes of what was learned, without exploration.

{tables}

![cost against minutes]({PICTURE})

Machine:

{machine()}
"""


def _table(rows: Sequence[Row], board: str) -> str:
    static = costs_of(rows, board, Arm("", BEST_STATIC))
    head = ["learned", "runs", "first minute", "last three", "afterwards", "better after (min)"]
    lines = [[*head, "bar (min)"]]
    for arm in ARMS:
        costs = costs_of(rows, board, arm)
        if not len(costs):
            continue
        after = [better_after(one, float(static.mean())) for one in costs] if len(static) else []
        found = ", ".join("never" if minute is None else str(minute) for minute in after)
        bar = f"{BARS[arm.way]}" if arm.way in BARS else "-"
        later = costs_of(rows, board, arm, "afterwards")
        means = (costs[:, 0], costs[:, -TRAILING:], later)
        cells = [f"{values.mean():.3f}" for values in means]
        is_static = arm.way == BEST_STATIC
        lines.append([arm.name, str(len(costs)), *cells, "-" if is_static else found, bar])
    return markdown(lines)


def _figure(rows: Sequence[Row], boards: Sequence[str]) -> Figure:
    figure = Figure(figsize=(5.0 * max(len(boards), 1), 3.6), layout="constrained")
    panels = figure.subplots(1, max(len(boards), 1), squeeze=False, sharey=True)[0]
    colours = dict(zip(ALGORITHMS, (LEARNED, BLUE), strict=True))
    for board, panel in zip(boards, panels, strict=False):
        for arm in ARMS:
            costs = costs_of(rows, board, arm)
            if not len(costs):
                continue
            if arm.way == BEST_STATIC:
                panel.axhline(costs.mean(), color=MUTED, label=arm.name)
                continue
            minutes = np.arange(1, costs.shape[1] + 1)
            colour, line = colours[arm.algorithm], _LINES[arm.way]
            panel.plot(minutes, costs.mean(axis=0), line, color=colour, label=arm.name)
            low, high = costs.min(axis=0), costs.max(axis=0)
            panel.fill_between(minutes, low, high, color=colour, alpha=0.1, linewidth=0.0)
        panel.set_title(f"board {board} (modelled)", loc="left")
        panel.set_xlabel("minutes on the board")
        panel.set_xlim(1, max(MINUTES.values()))
        panel.legend(frameon=False, fontsize="small")
    panels[0].set_ylabel("cost of a step")
    return figure

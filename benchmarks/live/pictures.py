"""Pictures of live runs beside the simulator's prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from agents.evaluation.palette import GRID, INK, LEARNED, MUTED, ORACLE, OTHER_MARKS
from benchmarks.live.comparison import BARS, POINTS, RELATIVE, Compared
from benchmarks.live.figures import LINK_RATIO
from benchmarks.live.readings import by_reading
from benchmarks.live.rows import Row

_BAND = "#e8edf2"
_TITLES = {
    "cost": ("cost per step", 1.0),
    "latency_s": ("mean latency, ms", 1e3),
    "energy_j": ("energy per request, J", 1.0),
    "p95_s": ("95th percentile of latency, ms", 1e3),
    "in_time": ("requests in time, %", 100.0),
}
LIVE, SIMULATED = LEARNED, ORACLE
READINGS = {
    LINK_RATIO: ("link rate over the true one", 1.0),
    "link_bps": ("link rate, Mbit/s", 1e-6),
    "link_age_s": ("age of the link's estimate, s", 1.0),
    "rtt_s": ("round trip, ms", 1e3),
    "server_idle": ("idle share of the server", 1.0),
    "server_flops_per_s": ("speed of the server, GFLOP/s", 1e-9),
    "latency_factor": ("edge time over modelled", 1.0),
    "away_factor": ("time away over expected", 1.0),
    "power_factor": ("power over modelled", 1.0),
    "latency_s": ("latency of the last step, ms", 1e3),
    "power_w": ("power, W", 1.0),
    "busy": ("busy share of the board", 1.0),
    "backlog": ("requests waiting", 1.0),
    "decision_s": ("time of a decision, ms", 1e3),
    "temperature_margin_c": ("margin to throttling, degrees C", 1.0),
    "edge_share": ("share of the network before the cut", 1.0),
}
"""Titles and factors; what is announced by the scenario is the same on both sides and left out."""
_WIDE = (LINK_RATIO, "rtt_s")


def actions_figure(cells: Mapping[tuple[str, ...], Compared]) -> Figure:
    """Live over simulated, a point per cell; the grey band is what the bars allow.

    Args:
        cells: by board, action, rate and round trip.
    """
    names = ("latency_s", "cost", "energy_j", "in_time")
    figure = Figure(figsize=(15.0, 4.6), layout="constrained")
    actions = list(dict.fromkeys(key[1] for key in cells))
    for panel, name in zip(figure.subplots(1, len(names)), names, strict=True):
        title, factor = _TITLES[name]
        for action, mark in zip(actions, _marks(len(actions)), strict=True):
            found = [c.of(name) for key, c in cells.items() if key[1] == action]
            x, y, low, high = factor * np.array(found).T
            colour, shape, filled = mark
            panel.errorbar(x, y, (y - low, high - y), fmt="none", ecolor=colour, elinewidth=1.2)
            face = colour if filled else "white"
            panel.plot(x, y, shape, color=colour, mfc=face, markersize=6, label=action)
        _diagonal(panel, name)
        panel.set_title(title, fontsize=10, color=INK)
        panel.set_xlabel("simulated")
    panel = figure.axes[0]
    panel.set_ylabel("live")
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    figure.suptitle(
        "Fixed actions, live over simulated: a point per link, lines are intervals of the repeats, "
        "the band is what is allowed",
        fontsize=11,
    )
    return figure


def _marks(n: int) -> list[tuple[str, str, bool]]:
    """Colour, shape, and whether it is filled."""
    k = len(OTHER_MARKS)
    return [(OTHER_MARKS[i % k].colour, OTHER_MARKS[i % k].shape, i < k) for i in range(n)]


def _diagonal(panel: Axes, name: str) -> None:
    """The line on which both sides agree, and the bar around it."""
    low = min(panel.get_xlim()[0], panel.get_ylim()[0])
    high = max(panel.get_xlim()[1], panel.get_ylim()[1])
    if name == "in_time":
        low, high = -3.0, 103.0
        ends = np.array([low, high])
        panel.fill_between(ends, ends - 100 * POINTS, ends + 100 * POINTS, color=_BAND, zorder=0)
    else:
        values = np.concatenate([np.r_[line.get_xdata(), line.get_ydata()] for line in panel.lines])
        low, high = 0.85 * float(np.min(values)), 1.15 * float(np.max(values))
        panel.set_xscale("log")
        panel.set_yscale("log")
        ends = np.array([low, high])
        bar = RELATIVE[name]
        panel.fill_between(ends, ends * (1 - bar), ends * (1 + bar), color=_BAND, zorder=0)
        _logarithmic(panel.xaxis)
        _logarithmic(panel.yaxis)
    panel.plot(ends, ends, color=MUTED, linewidth=0.8, zorder=1)
    panel.set_xlim(low, high)
    panel.set_ylim(low, high)
    panel.set_aspect("equal")
    panel.spines[["top", "right"]].set_visible(False)


def policies_figure(cells: Mapping[tuple[str, ...], Compared]) -> Figure:
    """Deciders on each link: what ran live, and the bar around what was simulated.

    Args:
        cells: by link and decider.
    """
    links = list(dict.fromkeys(key[0] for key in cells))
    names = ("cost", "in_time", "p95_s")
    figure = Figure(figsize=(3.6 * len(links) + 1.5, 7.6), layout="constrained")
    grid = figure.subplots(len(names), len(links), squeeze=False)
    for column, link in enumerate(links):
        mine = {key[1]: found for key, found in cells.items() if key[0] == link}
        order = sorted(mine, key=lambda name: mine[name].simulated("cost"))
        for row, name in enumerate(names):
            panel = grid[row, column]
            _deciders(panel, [mine[decider] for decider in order], name)
            panel.set_yticks(range(len(order)), order, fontsize=9)
            panel.set_ylim(len(order) - 0.5, -0.5)
            panel.set_xlabel(_TITLES[name][0], fontsize=9)
        grid[0, column].set_title(link, fontsize=11, color=INK)
    figure.legend(
        handles=[
            Line2D([], [], color=LIVE, marker="D", linewidth=1.4, label="live, with its interval"),
            Line2D(
                [], [], color=SIMULATED, marker="|", linewidth=0, markersize=11, label="simulated"
            ),
            Line2D([], [], color=_BAND, linewidth=8, label="allowed difference"),
        ],
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    figure.suptitle(
        "Who decides, live and simulated; from the cheapest in simulation to the dearest"
    )
    return figure


def _deciders(panel: Axes, found: Sequence[Compared], name: str) -> None:
    factor = _TITLES[name][1]
    for y, compared in enumerate(found):
        simulated, live, low, high = factor * np.array(compared.of(name))
        bar = 100 * POINTS if name == "in_time" else BARS[name] * simulated
        panel.barh(y, 2 * bar, 0.62, left=simulated - bar, color=_BAND, zorder=0)
        panel.plot(simulated, y, "|", color=SIMULATED, markersize=15, markeredgewidth=1.8)
        panel.hlines(y, low, high, color=LIVE, linewidth=1.4)
        panel.plot(live, y, "D", color=LIVE, markersize=5)
    if name == "p95_s":
        panel.set_xscale("log")
        _logarithmic(panel.xaxis)
    panel.use_sticky_edges = False
    panel.margins(x=0.08)
    panel.grid(axis="x", color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _logarithmic(axis: Axis) -> None:
    """Ticks of an axis whose scale is logarithmic."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def readings_figure(rows: Sequence[Row], decider: str) -> Figure:
    """5 to 95 % and median of each reading of a decider, by link, live over simulated."""
    links = list(dict.fromkeys(row["link"] for row in rows))
    by_link = {link: by_reading(rows, link, decider) for link in links}
    names = [n for n in READINGS if any(_varies(found.get(n, {})) for found in by_link.values())]
    columns = 4
    figure = Figure(figsize=(15.0, 1.2 + 2.1 * -(-len(names) // columns)), layout="constrained")
    grid = figure.subplots(-(-len(names) // columns), columns, squeeze=False)
    for panel, name in zip(grid.flat, names, strict=False):
        for k, link in enumerate(links):
            for side, colour, shift in (("live", LIVE, -0.17), ("sim", SIMULATED, 0.17)):
                values = by_link[link][name]
                found = [values[f"{side}_{q}"] for q in ("q05", "median", "q95")]
                low, median, high = READINGS[name][1] * np.array(found)
                panel.hlines(k + shift, low, high, color=colour, linewidth=2.0)
                panel.plot(median, k + shift, "o", color=colour, markersize=5)
        panel.set_title(READINGS[name][0], fontsize=10, color=INK)
        if name in _WIDE:
            panel.set_xscale("log")
            _logarithmic(panel.xaxis)
        panel.set_yticks(range(len(links)), links, fontsize=8)
        panel.set_ylim(len(links) - 0.5, -0.5)
        panel.tick_params(axis="x", labelsize=8)
        panel.grid(axis="x", color=GRID, linewidth=0.8)
        panel.spines[["top", "right"]].set_visible(False)
    for column in range(1, columns):
        for panel in grid[:, column]:
            panel.set_yticklabels([])
    for panel in list(grid.flat)[len(names) :]:
        panel.set_visible(False)
    figure.legend(
        handles=[
            Line2D([], [], color=LIVE, marker="o", linewidth=2.0, label="live"),
            Line2D([], [], color=SIMULATED, marker="o", linewidth=2.0, label="simulated"),
        ],
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    figure.suptitle(f"What {decider} reads: median, and 5 to 95 % of the control steps")
    return figure


def _varies(found: Mapping[str, float]) -> bool:
    """Whether a reading is not the same number all the time and on both sides."""
    return len(set(found.values())) > 1

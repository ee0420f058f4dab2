"""Pictures of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.evaluation.plots import INK, LEARNED, MUTED, save
from agents.evaluation.plots import ORACLE as ORACLE_COLOUR
from agents.evaluation.rows import ALL
from benchmarks.policies.plan import OURS
from benchmarks.policies.table import ORACLE, TableRow, over_all

_KIND_COLOURS = {
    "learned": "#7048e8",
    "searched": "#2b8a3e",
    "rule": MUTED,
    "frozen": "#c2255c",
    "privileged": ORACLE_COLOUR,
}
_WORST_GAP = 1.0
"""Gaps beyond this are drawn at the edge."""
_NEAR = 0.06
"""Shares in time so near the best one are enlarged."""
_DARK = 45.0
"""Gaps from here on, %, have a dark ground."""


def draw(table: Sequence[TableRow], out: Path) -> list[Path]:
    """Draw the first device and network of a table; returns the files."""
    first = table[0]
    main = [row for row in table if (row.device, row.model) == (first.device, first.model)]
    title = f"modelled {first.device}, {first.model}, {first.n_seeds} seeds"
    named = {
        "benchmark-gap.png": _gap_figure(main, title),
        "benchmark-tradeoff.png": _tradeoff_figure(main, title),
        "benchmark-scenarios.png": _scenario_figure(main, title),
    }
    for name, figure in named.items():
        save(figure, out / name)
    return [out / name for name in named]


def _colour(row: TableRow) -> str:
    return LEARNED if row.decider == OURS else _KIND_COLOURS[row.kind]


def _shown(row: TableRow) -> str:
    """A decider's name; of a run folder the last part."""
    return Path(row.decider).name


def _gap_figure(main: Sequence[TableRow], title: str) -> Figure:
    """How much more each decider costs than the oracle, over all scenarios."""
    rows = over_all(main)[::-1]
    figure = Figure(figsize=(8.5, 0.6 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for y, row in enumerate(rows):
        gap = row.oracle_gap
        axes.barh(y, 100 * min(gap.mean, _WORST_GAP), color=_colour(row), height=0.7)
        if gap.mean < _WORST_GAP:
            error = [[100 * max(gap.mean - gap.low, 0.0)], [100 * max(gap.high - gap.mean, 0.0)]]
            axes.errorbar(100 * gap.mean, y, xerr=error, fmt="none", ecolor=INK, elinewidth=1)
        end = 100 * min(max(gap.high, 0.0), _WORST_GAP)
        axes.annotate(
            f"{100 * gap.mean:.1f} %",
            (end, y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(range(len(rows)), [_shown(row) for row in rows], fontsize=9)
    axes.set_xlim(min(0.0, 100 * min(row.oracle_gap.low for row in rows)), 112 * _WORST_GAP)
    axes.set_xlabel("cost above the oracle's, % (bars end at 100)")
    axes.set_title(f"How far from the optimum\n{title}", fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    there = {row.kind for row in rows if row.decider != OURS}
    kinds = {kind: colour for kind, colour in _KIND_COLOURS.items() if kind in there}
    names = ["ours", *kinds]
    colours = [LEARNED, *kinds.values()]
    handles = [axes.barh(0, 0, color=colour) for colour in colours]
    axes.legend(handles, names, frameon=False, fontsize=9, loc="upper right")
    return figure


def _tradeoff_figure(main: Sequence[TableRow], title: str) -> Figure:
    """Energy against requests in time, over all scenarios; the best ones enlarged."""
    rows = over_all(main)
    best = max(row.deadline_hit_rate.mean for row in rows)
    near = [row for row in rows if row.deadline_hit_rate.mean >= best - _NEAR]
    figure = Figure(figsize=(12.0, 5.2), layout="constrained")
    whole, enlarged = figure.subplots(1, 2)
    _points(whole, rows)
    for row in rows:
        whole.errorbar(
            row.energy_j.mean,
            100 * row.deadline_hit_rate.mean,
            xerr=_error(row.energy_j.mean, row.energy_j.low, row.energy_j.high, 1.0),
            yerr=_error(
                row.deadline_hit_rate.mean,
                row.deadline_hit_rate.low,
                row.deadline_hit_rate.high,
                100.0,
            ),
            fmt="none",
            ecolor=_colour(row),
            elinewidth=0.8,
        )
    _name_beside(whole, [row for row in rows if row not in near])
    _points(enlarged, near)
    _name_in_a_column(enlarged, near)
    whole.set_ylabel("requests in time, %")
    whole.set_title(f"Less energy is left, more in time is up\n{title}", fontsize=11, loc="left")
    enlarged.set_title("the upper left corner enlarged, without intervals", fontsize=10, loc="left")
    for axes in (whole, enlarged):
        axes.set_xlabel("energy of the board per inference, J")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _points(axes: Axes, rows: Sequence[TableRow]) -> None:
    for row in rows:
        size = 9 if row.decider in (OURS, ORACLE) else 5
        point = (row.energy_j.mean, 100 * row.deadline_hit_rate.mean)
        axes.plot(*point, "o", color=_colour(row), markersize=size)


def _name_beside(axes: Axes, rows: Sequence[TableRow]) -> None:
    """Name points that are apart; those that coincide share a label."""
    named: dict[tuple[float, float], list[str]] = {}
    for row in rows:
        point = (round(row.energy_j.mean, 3), round(100 * row.deadline_hit_rate.mean, 1))
        named.setdefault(point, []).append(_shown(row))
    for point, names in named.items():
        axes.annotate(
            ", ".join(names),
            point,
            xytext=(6, 4),
            textcoords="offset points",
            fontsize=8,
            color=INK,
        )


def _name_in_a_column(axes: Axes, rows: Sequence[TableRow]) -> None:
    """Name points that are close together on the right, each with a line to its name."""
    ordered = sorted(rows, key=lambda row: (row.deadline_hit_rate.mean, -row.energy_j.mean))
    low, high = axes.get_ylim()
    heights = np.linspace(low + 0.04 * (high - low), high, len(ordered))
    left, right = axes.get_xlim()
    column = right + 0.08 * (right - left)
    for row, height in zip(ordered, heights, strict=True):
        axes.annotate(
            _shown(row),
            (row.energy_j.mean, 100 * row.deadline_hit_rate.mean),
            xytext=(column, height),
            va="center",
            fontsize=8,
            color=INK,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5},
        )
    axes.set_xlim(left, right + 0.4 * (right - left))


def _error(mean: float, low: float, high: float, factor: float) -> list[list[float]]:
    return [[factor * max(mean - low, 0.0)], [factor * max(high - mean, 0.0)]]


def _scenario_figure(main: Sequence[TableRow], title: str) -> Figure:
    """Cost above the oracle's of every decider in every scenario."""
    scenarios = [name for name in dict.fromkeys(row.scenario for row in main) if name != ALL]
    order = over_all(main)
    gaps = {(row.decider, row.scenario): row.oracle_gap.mean for row in main}
    grid = np.array([[100 * gaps[row.decider, name] for name in scenarios] for row in order])
    figure = Figure(
        figsize=(max(6.0, 2.6 + 0.72 * len(scenarios)), 1.8 + 0.3 * len(order)),
        layout="constrained",
    )
    axes = figure.subplots()
    axes.imshow(np.clip(grid, -5.0, 60.0), cmap="RdYlGn_r", aspect="auto", vmin=-5.0, vmax=60.0)
    grid = np.round(grid) + 0.0  # no minus before a zero
    for y, line in enumerate(grid):
        for x, value in enumerate(line):
            text = f"{value:.0f}" if abs(value) < 1000 else ">999"
            colour = INK if value < _DARK else "white"
            axes.text(x, y, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(scenarios)), scenarios, rotation=40, ha="right", fontsize=9)
    axes.set_yticks(range(len(order)), [_shown(row) for row in order], fontsize=9)
    axes.set_title(f"Cost above the oracle's, %\n{title}", fontsize=11, loc="left")
    return figure

"""Draw the pictures of a comparison again: `python -m benchmarks.policies.figures`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from agents.errors import AgentError
from agents.evaluation.palette import (
    BLACK,
    BLUE,
    GREEN,
    GRID,
    INK,
    MUTED,
    OURS_MARK,
    PINK,
    Mark,
)
from agents.evaluation.plots import save
from agents.evaluation.rows import ALL
from benchmarks.policies.plan import OURS
from benchmarks.policies.table import ORACLE, TableRow, over_all
from benchmarks.policies.table_file import read_rows
from common import command
from envs.arrays import Floats

_KINDS = {
    "learned": Mark(BLUE, "o"),
    "searched": Mark(GREEN, "s"),
    "rule": Mark(MUTED, "^"),
    "frozen": Mark(PINK, "v"),
    "privileged": Mark(BLACK, "|"),
}
_OURS = "this project's"
_LINEAR_BELOW = 1.0
"""Gaps up to here, %, are drawn to a linear scale, those beyond to a logarithmic one."""
_NEAR = 0.06
"""Shares in time so near the best one are enlarged."""
_GREATEST_GAP = 1000.0
"""Gaps from here on, %, have the same ground."""
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


def _mark(row: TableRow) -> Mark:
    return OURS_MARK if row.decider == OURS else _KINDS[row.kind]


def _explain(figure: Figure, rows: Sequence[TableRow]) -> None:
    """Say what the marks stand for, those that are drawn."""
    drawn = {row.kind for row in rows if row.decider != OURS}
    marks = {_OURS: OURS_MARK} | {kind: mark for kind, mark in _KINDS.items() if kind in drawn}
    handles = [
        Line2D([], [], color=mark.colour, marker=mark.shape, linestyle="")
        for mark in marks.values()
    ]
    figure.legend(handles, list(marks), loc="outside lower center", ncols=len(marks), frameon=False)


def _shown(row: TableRow) -> str:
    """A decider's name; of a run folder the last part."""
    return Path(row.decider).name


def _gap_figure(main: Sequence[TableRow], title: str) -> Figure:
    """How much more each decider costs than the oracle, over all scenarios."""
    rows = over_all(main)[::-1]
    figure = Figure(figsize=(8.5, 1.4 + 0.26 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for y, row in enumerate(rows):
        gap, mark = row.oracle_gap, _mark(row)
        axes.hlines(y, 100 * gap.low, 100 * gap.high, color=mark.colour, linewidth=1.5)
        size = 11 if mark.shape == "|" else 6
        axes.plot(100 * gap.mean, y, mark.shape, color=mark.colour, markersize=size)
        axes.annotate(
            f"{_rounded(100 * gap.mean)} %",
            (100 * max(gap.mean, gap.high), y),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
        )
    axes.set_yticks(range(len(rows)), [_shown(row) for row in rows], fontsize=9)
    axes.set_xscale("symlog", linthresh=_LINEAR_BELOW, linscale=0.6)
    axes.set_xlim(100 * min(row.oracle_gap.low for row in rows) - 0.1, 3 * _GREATEST_GAP)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("cost above the oracle's, % (logarithmic from 1 %)")
    axes.set_title(f"How far from the optimum\n{title}", fontsize=11, loc="left")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    _explain(figure, rows)
    return figure


def _rounded(gap: float) -> str:
    return f"{gap:.0f}" if abs(gap) >= 100.0 else f"{gap:.1f}"


def _tradeoff_figure(main: Sequence[TableRow], title: str) -> Figure:
    """Energy against requests in time, over all scenarios; the best ones enlarged."""
    rows = over_all(main)
    best = max(row.deadline_hit_rate.mean for row in rows)
    near = [row for row in rows if row.deadline_hit_rate.mean >= best - _NEAR]
    figure = Figure(figsize=(12.0, 5.6), layout="constrained")
    whole, enlarged = figure.subplots(1, 2)
    _points(whole, rows)
    _name_beside(whole, [row for row in rows if row not in near])
    _points(enlarged, near)
    _name_in_a_column(enlarged, near)
    whole.set_ylabel("requests in time, %")
    whole.set_title(f"Less energy is left, more in time is up\n{title}", fontsize=11, loc="left")
    enlarged.set_title("the upper left corner enlarged", fontsize=10, loc="left")
    for axes in (whole, enlarged):
        axes.set_xlabel("energy of the board per inference, J; lines are 95 % intervals")
        axes.spines[["top", "right"]].set_visible(False)
    _explain(figure, rows)
    return figure


def _points(axes: Axes, rows: Sequence[TableRow]) -> None:
    for row in rows:
        mark, energy, in_time = _mark(row), row.energy_j, row.deadline_hit_rate
        point = (energy.mean, 100 * in_time.mean)
        axes.hlines(point[1], energy.low, energy.high, color=mark.colour, linewidth=0.7, alpha=0.6)
        heights = (100 * in_time.low, 100 * in_time.high)
        axes.vlines(point[0], *heights, color=mark.colour, linewidth=0.7, alpha=0.6)
        size = {OURS: 9, ORACLE: 13}.get(row.decider, 6)
        axes.plot(*point, mark.shape, color=mark.colour, markersize=size, zorder=3)


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
    points = {row.decider: (row.energy_j.mean, 100 * row.deadline_hit_rate.mean) for row in rows}
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    column = right + 0.08 * (right - left)
    heights = np.linspace(low + 0.04 * (high - low), high, len(points))
    for name, height in zip(_uncrossed(points, column, heights), heights, strict=True):
        axes.annotate(
            Path(name).name,
            points[name],
            xytext=(column, height),
            va="center",
            fontsize=8,
            color=INK,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5},
        )
    axes.set_xlim(left, right + 0.4 * (right - left))


def _uncrossed(
    points: Mapping[str, tuple[float, float]], column: float, heights: Floats
) -> list[str]:
    """Names from the lowest to the highest, so that the lines to them do not cross."""
    order = sorted(points, key=lambda name: (points[name][1], -points[name][0]))
    for _ in order:
        for i in range(len(order) - 1):
            (x, y), (other_x, other_y) = points[order[i]], points[order[i + 1]]
            nearer = max(x, other_x)
            here = np.interp(nearer, [x, column], [y, heights[i]])
            there = np.interp(nearer, [other_x, column], [other_y, heights[i + 1]])
            if here > there:
                order[i], order[i + 1] = order[i + 1], order[i]
    return order


def _scenario_figure(main: Sequence[TableRow], title: str) -> Figure:
    """Cost above the oracle's of every decider in every scenario, and in the mean of links."""
    names = dict.fromkeys(row.scenario for row in main)
    scenarios = [name for name in names if name != ALL and "@" not in name]
    order = over_all(main)
    gaps = {(row.decider, row.scenario): row.oracle_gap.mean for row in main}
    grid = np.array([[100 * gaps[row.decider, name] for name in scenarios] for row in order])
    figure = Figure(
        figsize=(max(6.0, 2.6 + 0.72 * len(scenarios)), 1.8 + 0.3 * len(order)),
        layout="constrained",
    )
    axes = figure.subplots()
    scale = SymLogNorm(linthresh=3.0, vmin=0.0, vmax=_GREATEST_GAP)
    axes.imshow(grid, cmap="Blues", aspect="auto", norm=scale)
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


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a table; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies.figures", description=__doc__
    )
    parser.add_argument(
        "--table", type=Path, default=Path("results/benchmark.csv"), help="%(default)s"
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (%(default)s)")
    arguments = parser.parse_args(argv)
    try:
        pictures = draw(read_rows(arguments.table), arguments.out)
    except (AgentError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(map(str, pictures)))
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))

"""Pictures of an evaluation and of a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from agents.deciders.base import Decider, account
from agents.evaluation.palette import (
    BLUE,
    GREEN,
    GRID,
    INK,
    ORACLE_MARK,
    OTHER_MARKS,
    OURS_MARK,
    VERMILION,
    Mark,
)
from agents.evaluation.rows import ALL, EvaluationRow
from envs.arrays import Floats
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.sim_config import SimConfig
from envs.spaces import ObservationEncoder, observation_fields

CLOCK_COLOURS = {"cpu": BLUE, "gpu": VERMILION, "emc": GREEN}
CLOCK_STYLES = {"cpu": "-", "gpu": "--", "emc": ":"}
_PANELS = (
    ("cost", "cost", 1.0, "log"),
    ("energy_j", "energy per inference, J", 1.0, "log"),
    ("p95_latency_s", "95th percentile of latency, ms", 1e3, "log"),
    ("deadline_hit_rate", "requests in time, %", 100.0, "linear"),
)
_SPREAD = 0.6
"""Of the policies within the row of a scenario, in rows."""


def evaluation_figure(rows: Sequence[EvaluationRow], learned: str, subtitle: str) -> Figure:
    """Draw every policy in every scenario: a row per scenario, that of all first, a mark a policy.

    Args:
        rows: of `agents.evaluation.evaluate.evaluate`.
        learned: name of the policy to set off.
        subtitle: what the numbers rest on.
    """
    found = list(dict.fromkeys(row.scenario for row in rows))
    scenarios = sorted(found, key=lambda name: name != ALL)
    marks = _marks(rows, learned)
    figure = Figure(figsize=(13.0, 2.0 + 0.55 * len(scenarios)), layout="constrained")
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for panel, (key, title, factor, scale) in zip(panels, _PANELS, strict=True):
        for k, (policy, mark) in enumerate(marks.items()):
            mine = {row.scenario: row for row in rows if row.policy == policy}
            offset = _SPREAD * ((k + 0.5) / len(marks) - 0.5)
            drawn = [(y + offset, mine[name]) for y, name in enumerate(scenarios) if name in mine]
            _marked(panel, drawn, key, factor, mark, policy)
        if scale == "linear":
            panel.set_xlim(-2.0, 102.0)
        else:
            panel.set_xscale(scale)
            panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            panel.xaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_title(title, fontsize=10, color=INK)
        panel.grid(axis="x", color=GRID, linewidth=0.8)
        for y in range(0, len(scenarios), 2):
            panel.axhspan(y - 0.5, y + 0.5, color="#f5f7fa", zorder=0)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(scenarios)), scenarios, fontsize=10)
    panels[0].set_ylim(len(scenarios) - 0.5, -0.5)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    figure.suptitle(
        f"{learned} and the baselines on held-out episodes; lines are 95 % intervals\n{subtitle}",
        fontsize=11,
    )
    return figure


def _marks(rows: Sequence[EvaluationRow], learned: str) -> dict[str, Mark]:
    """Each policy's mark, from the cheapest policy to the dearest."""
    policies = {row.policy: row.cost for row in rows if row.scenario in (ALL, rows[-1].scenario)}
    order = sorted(policies, key=lambda name: policies[name])
    others = cycle(OTHER_MARKS)
    known = {learned: OURS_MARK, "oracle": ORACLE_MARK}
    return {name: known.get(name) or next(others) for name in order}


def _marked(
    axes: Axes,
    drawn: Sequence[tuple[float, EvaluationRow]],
    key: str,
    factor: float,
    mark: Mark,
    label: str,
) -> None:
    heights = [y for y, _ in drawn]
    values = factor * np.array([getattr(row, key) for _, row in drawn])
    if drawn and hasattr(drawn[0][1], f"{key}_low"):
        low = factor * np.array([getattr(row, f"{key}_low") for _, row in drawn])
        high = factor * np.array([getattr(row, f"{key}_high") for _, row in drawn])
        axes.hlines(heights, low, high, color=mark.colour, linewidth=1.2)
    size = 10 if mark is ORACLE_MARK else 5.5
    axes.plot(values, heights, mark.shape, color=mark.colour, markersize=size, label=label)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a policy chose, one entry per board and step, shape (k,); clocks are (k, n_domains)."""

    link_bps: Floats
    clocks_hz: Floats
    route: NDArray[np.int64]


def record_decisions(world: SimConfig, decider: Decider, seeds: NDArray[np.uint64]) -> Decisions:
    """Run episodes and keep the link rate and the choice of every step."""
    fleet = BatchedSimulator(world, len(seeds))
    encoder = ObservationEncoder(observation_fields(fleet.layout))
    readings = fleet.reset(seeds)
    decider.begin(fleet, fleet.n)
    links, clocks, routes = [], [], []
    for _ in range(world.n_steps):
        actions = decider.decide(encoder.encode(readings))
        links.append(readings.link_bps)
        account(decider, fleet.step(actions))
        readings = fleet.readings()
        clocks.append(readings.clocks_hz)
        routes.append(actions[:, -1])
    return Decisions(np.concatenate(links), np.concatenate(clocks), np.concatenate(routes))


def decisions_figure(
    named: Sequence[tuple[str, Decisions]], domains: Sequence[str], route_names: Sequence[str]
) -> Figure:
    """Draw clocks and cuts over link rate, one column per policy.

    Args:
        named: policies with their decisions.
        domains: names of the clocks.
        route_names: of the routes.
    """
    labels = [
        f"{route_names[0]} (cloud-only)",
        *route_names[1:-1],
        f"{route_names[-1]} (edge-only)",
    ]
    figure = Figure(figsize=(5.6 * len(named), 6.4), layout="constrained")
    grid = figure.subplots(2, len(named), squeeze=False, sharex=True, sharey="row")
    edges = np.geomspace(1e5, 1e8, 25)
    for column, (name, decisions) in enumerate(named):
        top, bottom = grid[0, column], grid[1, column]
        bins = np.clip(np.digitize(decisions.link_bps, edges) - 1, 0, len(edges) - 2)
        used = [b for b in range(len(edges) - 1) if (bins == b).sum() >= MIN_BIN]
        centres = np.sqrt(edges[:-1] * edges[1:])[used] / 1e6
        _clock_lines(top, decisions, bins, used, centres, domains)
        _route_areas(bottom, decisions, bins, used, centres, labels)
        top.set_title(name, fontsize=12, color=INK)
        bottom.set_xlabel("estimated uplink rate, Mbit/s")
    fastest_hz = max(float(decisions.clocks_hz.max()) for _, decisions in named)
    grid[0, 0].set_ylim(0.0, 1.05 * fastest_hz / 1e9)  # of all columns, whoever is drawn first
    grid[0, 0].set_ylabel("mean clock, GHz")
    grid[1, 0].set_ylabel("share of decisions, %")
    grid[0, -1].legend(frameon=False, fontsize=9)
    grid[1, -1].legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9, title="cut after"
    )
    return figure


MIN_BIN = 20
"""Fewer decisions than this in a bin are not drawn."""


def _clock_lines(
    axes: Axes,
    decisions: Decisions,
    bins: NDArray[np.int64],
    used: Sequence[int],
    centres: Floats,
    domains: Sequence[str],
) -> None:
    for k, domain in enumerate(domains):
        means = [decisions.clocks_hz[bins == b, k].mean() / 1e9 for b in used]
        style = CLOCK_STYLES.get(domain, "-.")
        axes.plot(centres, means, style, label=domain, color=CLOCK_COLOURS.get(domain), linewidth=2)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.spines[["top", "right"]].set_visible(False)


def _route_areas(
    axes: Axes,
    decisions: Decisions,
    bins: NDArray[np.int64],
    used: Sequence[int],
    centres: Floats,
    route_names: Sequence[str],
) -> None:
    counts = np.array(
        [np.bincount(decisions.route[bins == b], minlength=len(route_names)) for b in used]
    )
    shares = 100.0 * counts / counts.sum(axis=1, keepdims=True)
    colours = colormaps["cividis_r"](np.linspace(0.0, 1.0, len(route_names)))
    axes.stackplot(centres, shares.T, labels=route_names, colors=colours)
    axes.set_ylim(0.0, 100.0)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG."""
    figure.savefig(path, dpi=110)

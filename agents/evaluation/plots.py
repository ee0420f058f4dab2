"""Pictures of an evaluation and of a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from agents.deciders.base import Decider
from agents.evaluation.rows import ALL, EvaluationRow
from envs.arrays import Floats
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.sim_config import SimConfig
from envs.spaces import ObservationEncoder, observation_fields

INK, MUTED, LEARNED, ORACLE = "#1f2933", "#9aa5b1", "#0b7285", "#e8590c"
CLOCK_COLOURS = {"cpu": "#0b7285", "gpu": "#e8590c", "emc": "#7048e8"}
_PANELS = (
    ("cost", "cost (lower is better)", 1.0),
    ("energy_j", "energy per inference, J", 1.0),
    ("p95_latency_s", "95th percentile latency, ms", 1e3),
    ("deadline_hit_rate", "requests in time, %", 100.0),
)


def evaluation_figure(rows: Sequence[EvaluationRow], learned: str, subtitle: str) -> Figure:
    """Draw every policy in every scenario, one row of panels per scenario.

    Args:
        rows: of `agents.evaluation.evaluate.evaluate`.
        learned: name of the policy to set off.
        subtitle: what the numbers rest on.
    """
    scenarios = [name for name in dict.fromkeys(row.scenario for row in rows) if name != ALL]
    figure = Figure(figsize=(13.0, 1.0 + 2.5 * len(scenarios)), layout="constrained")
    grid = figure.subplots(len(scenarios), len(_PANELS), squeeze=False, sharey="row")
    for panels, scenario in zip(grid, scenarios, strict=True):
        mine = [row for row in rows if row.scenario == scenario]
        mine.sort(key=lambda row: row.cost, reverse=True)
        for panel, (key, title, factor) in zip(panels, _PANELS, strict=True):
            _bars(panel, mine, key, factor, learned)
            if scenario == scenarios[0]:
                panel.set_title(title, fontsize=10, color=INK)
        panels[0].set_ylabel(scenario, fontsize=11, fontweight="bold", color=INK)
    figure.suptitle(f"{learned} and the baselines on held-out episodes\n{subtitle}", fontsize=11)
    return figure


def _bars(axes: Axes, rows: Sequence[EvaluationRow], key: str, factor: float, learned: str) -> None:
    values = np.array([getattr(row, key) for row in rows]) * factor
    ends = values
    colours = [{learned: LEARNED, "oracle": ORACLE}.get(row.policy, MUTED) for row in rows]
    axes.barh([row.policy for row in rows], values, color=colours, height=0.7)
    if hasattr(rows[0], f"{key}_low"):
        low = np.array([getattr(row, f"{key}_low") for row in rows]) * factor
        ends = np.array([getattr(row, f"{key}_high") for row in rows]) * factor
        error = np.maximum(np.stack([values - low, ends - values]), 0.0)
        axes.errorbar(values, range(len(rows)), xerr=error, fmt="none", ecolor=INK, elinewidth=1)
    # Baselines that fall over completely would squeeze the rest into the axis.
    limit = min(1.25 * float(ends.max()), 2.5 * float(np.median(values)))
    axes.set_xlim(0.0, max(limit, 1e-9))
    for y, (value, end) in enumerate(zip(values, ends, strict=True)):
        fits = end < 0.85 * limit
        axes.annotate(
            f"{value:.0f}" if value >= 100.0 else f"{value:.3g}",
            (end if fits else limit, y),
            xytext=(4 if fits else -4, 0),
            textcoords="offset points",
            ha="left" if fits else "right",
            va="center",
            fontsize=8,
            color=INK,
            bbox=None if fits else {"boxstyle": "round,pad=0.2", "fc": "white", "ec": "none"},
        )
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


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
        fleet.step(actions)
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
    figure = Figure(figsize=(5.6 * len(named), 6.4), layout="constrained")
    grid = figure.subplots(2, len(named), squeeze=False, sharex=True, sharey="row")
    edges = np.geomspace(1e5, 1e8, 25)
    for column, (name, decisions) in enumerate(named):
        top, bottom = grid[0, column], grid[1, column]
        bins = np.clip(np.digitize(decisions.link_bps, edges) - 1, 0, len(edges) - 2)
        used = [b for b in range(len(edges) - 1) if (bins == b).sum() >= MIN_BIN]
        centres = np.sqrt(edges[:-1] * edges[1:])[used] / 1e6
        _clock_lines(top, decisions, bins, used, centres, domains)
        _route_areas(bottom, decisions, bins, used, centres, route_names)
        top.set_title(name, fontsize=12, color=INK)
        bottom.set_xlabel("estimated uplink rate, Mbit/s")
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
        axes.plot(centres, means, label=domain, color=CLOCK_COLOURS.get(domain), linewidth=2)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0.0)
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
    shades = np.linspace(0.12, 0.95, len(route_names))
    colours = [(0.04 + 0.9 * (1 - s), 0.25 + 0.65 * (1 - s), 0.35 + 0.6 * (1 - s)) for s in shades]
    axes.stackplot(centres, shares.T, labels=route_names, colors=colours)
    axes.set_ylim(0.0, 100.0)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG."""
    figure.savefig(path, dpi=110)

"""A placed network as a picture: the blocks in their stages, over the cluster that runs them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from partition.placement.cluster import Cluster, Floats
from partition.placement.errors import PlacementError
from partition.placement.plan import Plan
from partition.placement.solver.problem import Problem

_GREY, _INK = "#c4c4c4", "#303030"
_LABEL = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85}
_APART = 0.08
"""Share of the blocks that two cuts have to be apart for their labels to fit next to each other."""
_ROWS = 4
"""Fewer stages leave the rest of the bars' room empty."""
_MANY = 24
"""Devices from which on names are left to those that have a stage."""


def save(model: str, cluster: Cluster, problem: Problem, plan: Plan, path: Path) -> None:
    """Draw a plan.

    Raises:
        PlacementError: the file cannot be written.
    """
    try:
        figure(model, cluster, problem, plan).savefig(path, dpi=130)
    except (OSError, ValueError) as error:
        raise PlacementError(f"picture {path} cannot be written ({error}): choose another") from (
            error
        )


def figure(model: str, cluster: Cluster, problem: Problem, plan: Plan) -> Figure:
    """Blocks by stage on top, the cluster below, what each stage takes next to it."""
    drawn = Figure(figsize=(11, 7.4), layout="constrained")
    grid = drawn.add_gridspec(2, 2, height_ratios=(1, 2.1), width_ratios=(1.9, 1))
    colours = _colours(len(plan.stages))
    _draw_network(drawn.add_subplot(grid[0, :]), problem, plan, colours)
    left, right = drawn.add_subplot(grid[1, 0]), drawn.add_subplot(grid[1, 1])
    _draw_cluster(left, cluster, problem, plan, colours)
    _draw_stages(right, plan, colours)
    proof = "proved shortest" if plan.proved else f"at most {plan.gap:.1%} from the shortest"
    what = (
        f"{model} on {cluster.name}: {1 / plan.period_s:.3g} frames per second"
        if (plan.period_s > 0)
        else f"{model} on {cluster.name}"
    )
    if plan.objective == "throughput":
        what += f", period {proof}"
    drawn.suptitle(f"{what}; latency {plan.latency_s * 1e3:.3g} ms", fontsize=12)
    return drawn


def _colours(n: int) -> list[str]:
    if n <= 10:
        return [mpl.colors.to_hex(c) for c in mpl.colormaps["tab10"](np.arange(n))]
    return [mpl.colors.to_hex(c) for c in mpl.colormaps["turbo"](np.linspace(0.05, 0.95, n))]


def _draw_network(axes: Axes, problem: Problem, plan: Plan, colours: list[str]) -> None:
    """Compute per block as bars, bytes at each legal cut as a line, the stages in colour."""
    work = problem.block_s.min(axis=0)
    share = 100 * work / (work.sum() or 1.0)
    for stage, colour in zip(plan.stages, colours, strict=True):
        at = np.arange(stage.start, stage.end)
        axes.bar(at + 0.5, share[at], width=0.86, color=colour)
        axes.axvspan(stage.start, stage.end, color=colour, alpha=0.13, lw=0)
    axes.set_xlim(0, problem.n_blocks)
    axes.set_ylabel("% of the compute (bars)")
    axes.set_xlabel("blocks between legal cuts", labelpad=1)
    bytes_axes = axes.twinx()
    kilobytes = problem.cut_bytes / 1e3
    bytes_axes.plot(range(len(kilobytes)), kilobytes, color=_INK, lw=0.9, alpha=0.7)
    cuts = [stage.start for stage in plan.stages[1:]]
    bytes_axes.plot(cuts, kilobytes[cuts], "o", color=_INK, ms=5)
    for cut in cuts if len(cuts) <= 12 else []:
        near = [c for c in cuts if c != cut and abs(c - cut) < _APART * problem.n_blocks]
        below = any((kilobytes[c], -c) > (kilobytes[cut], -cut) for c in near)
        bytes_axes.annotate(
            f"{kilobytes[cut]:.3g} kB",
            (cut, kilobytes[cut]),
            (4, -13 if below else 5),
            textcoords="offset points",
            fontsize=8,
            color=_INK,
            bbox=_LABEL,
        )
    bytes_axes.set_yscale("log")
    bytes_axes.set_ylabel("kB at a cut (line)")


def _draw_cluster(
    axes: Axes, cluster: Cluster, problem: Problem, plan: Plan, colours: list[str]
) -> None:
    where = _positions(cluster, plan)
    index = {name: i for i, name in enumerate(problem.devices)}
    if len(where) <= _MANY:
        for a, b in np.argwhere(np.triu(problem.bytes_per_s + problem.bytes_per_s.T)):
            axes.plot(*where[[a, b]].T, color=_GREY, lw=0.6, alpha=0.6, zorder=1)
    size = 900 if len(where) <= _MANY else 260
    axes.scatter(where[:, 0], where[:, 1], s=size, color="#f2f2f2", edgecolors=_GREY, zorder=2)
    used = {}
    for n, (stage, colour) in enumerate(zip(plan.stages, colours, strict=True), 1):
        for name in stage.devices:
            used[index[name]] = n
            at = where[index[name]]
            axes.scatter(at[0], at[1], s=size, color=colour, edgecolors=_INK, zorder=4)
            axes.annotate(
                f"{n}", at, ha="center", va="center", color="white", zorder=5, weight="bold"
            )
    for before, after in pairwise(plan.stages):
        for a in before.devices:
            for b in after.devices:
                label = f"{after.receive_s * 1e3:.3g} ms" if len(plan.stages) <= 12 else ""
                _arrow(axes, where[index[a]], where[index[b]], size, label)
    _draw_ends(axes, problem, plan, where, index, size)
    for i, name in enumerate(problem.devices):
        if i in used or len(where) <= _MANY:
            offset = (0, -25 if size > 500 else -15)
            axes.annotate(
                name,
                where[i],
                offset,
                textcoords="offset points",
                ha="center",
                fontsize=8 if len(where) <= _MANY else 6,
                color=_INK if i in used else "#909090",
                bbox=_LABEL,
                zorder=6,
            )
    axes.margins(0.14)
    axes.set_aspect("equal", adjustable="box")  # labels lie on their arrows
    axes.axis("off")


def _draw_ends(
    axes: Axes, problem: Problem, plan: Plan, where: Floats, index: dict[str, int], size: float
) -> None:
    """The input's way in and the output's way out, where they have one."""
    first, last = plan.stages[0].devices[0], plan.stages[-1].devices[0]
    if problem.source is not None and problem.source != index[first]:
        label = f"input {plan.stages[0].receive_s * 1e3:.3g} ms"
        _arrow(axes, where[problem.source], where[index[first]], size, label, dashed=True)
    if problem.sink is not None and problem.sink != index[last]:
        label = f"output {plan.send_s * 1e3:.3g} ms"
        _arrow(axes, where[index[last]], where[problem.sink], size, label, dashed=True)


def _arrow(
    axes: Axes, a: Floats, b: Floats, size: float, label: str, *, dashed: bool = False
) -> None:
    shrink = np.sqrt(size) / 2
    bend = 0.16  # to the left of its way: there and back are apart
    axes.add_patch(
        FancyArrowPatch(
            tuple(a),
            tuple(b),
            arrowstyle="-|>",
            mutation_scale=15,
            connectionstyle=f"arc3,rad={bend}",
            shrinkA=shrink,
            shrinkB=shrink,
            color=_INK,
            lw=1.3,
            ls="--" if dashed else "-",
            zorder=3,
        )
    )
    if label:
        x, y = (a + b) / 2 + bend * 0.5 * np.array([b[1] - a[1], a[0] - b[0]])
        axes.annotate(
            label, (x, y), ha="center", va="center", fontsize=8, color=_INK, bbox=_LABEL, zorder=6
        )


def _positions(cluster: Cluster, plan: Plan) -> Floats:
    """As the file says, or on a ring with the stages one after the other."""
    given = [device.position for device in cluster.devices]
    if all(position is not None for position in given):
        return np.array(given, dtype=float)
    names = [device.name for device in cluster.devices]
    order = [name for stage in plan.stages for name in stage.devices]
    order += [name for name in names if name not in set(order)]
    turn = 2 * np.pi * np.arange(len(names)) / len(names)
    ring = dict(zip(order, np.column_stack([1.7 * np.sin(turn), np.cos(turn)]), strict=True))
    return np.array([ring[name] for name in names])


def _draw_stages(axes: Axes, plan: Plan, colours: list[str]) -> None:
    """Compute and transfer of each stage against the period."""
    rows = np.arange(len(plan.stages))
    compute = np.array([stage.period_s for stage in plan.stages]) * 1e3
    receive = np.array([stage.receive_s for stage in plan.stages]) * 1e3
    axes.barh(rows - 0.2, compute, height=0.36, color=colours)
    axes.barh(rows + 0.2, receive, height=0.36, color=colours, alpha=0.35, hatch="///", lw=0)
    axes.axvline(plan.period_s * 1e3, color=_INK, ls="--", lw=1)
    names = [" + ".join(stage.devices) for stage in plan.stages]
    labels = [f"{n}  {name}" for n, name in enumerate(names, 1)]
    axes.set_yticks(rows, labels, fontsize=8 if len(rows) <= 16 else 5)
    axes.set_ylim(max(len(rows), _ROWS) - 0.5, -0.5)
    axes.set_xlabel(
        "ms per frame: compute (full), receiving (hatched),\nperiod (dashed)", fontsize=8
    )
    axes.spines[["top", "right"]].set_visible(False)

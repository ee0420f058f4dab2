"""Picture of a comparison over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agents.comparison.report import ComparisonReport
from agents.evaluation.palette import BLUE, GRID, INK, MUTED, VERMILION

_COLOURS, _MARKS = (VERMILION, BLUE), ("D", "s")


def draw(report: ComparisonReport, path: Path) -> None:
    """Write a PNG: energy per request of every block, and the saving as it became known.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: it cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - boards do without

    record, rule = report.record, report.rule
    figure = Figure(figsize=(9.0, 6.0), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    for k, arm in enumerate(report.arms):
        mine = [block for block in record.blocks if block.arm == k and block.totals.answered]
        top.plot(
            [block.began_s / 60.0 for block in mine],
            [block.totals.energy_per_request_j for block in mine],
            _MARKS[k],
            color=_COLOURS[k],
            label=arm.title,
            markersize=5,
        )
    note = ", modelled" if report.plant.is_modelled else ""
    top.set_ylabel(f"energy per request, J{note}")
    top.legend(frameon=False, fontsize=9)
    step = report.length.n_steps * report.plant.step_s / 60.0
    known = [
        (record.blocks[4 * k + 3].began_s / 60.0 + step, effects.energy)
        for k, effects in enumerate(record.effects)
        if np.isfinite(rule.half_width(effects.energy))
    ]
    minutes = np.array([when for when, _ in known])
    values = np.array([float(effect.value) for _, effect in known])
    halves = np.array([float(rule.half_width(effect)) for _, effect in known])
    low, middle, high = (-100.0 * np.expm1(values + side * halves) for side in (1.0, 0.0, -1.0))
    bottom.fill_between(minutes, low, high, color=_COLOURS[0], alpha=0.2, linewidth=0)
    bottom.plot(minutes, middle, color=_COLOURS[0])
    bottom.axhline(0.0, color=MUTED, linewidth=1.0)
    if known:
        margin = 2.0 * (high[-1] - low[-1]) + 1.0
        bottom.set_ylim(min(low[-1], 0.0) - margin, max(high[-1], 0.0) + margin)
    bottom.set_ylabel(f"saved, %{note}, 95 % interval")
    bottom.set_xlabel("time, min")
    for panel in (top, bottom):
        panel.grid(color=GRID, linewidth=0.8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(report.sentence, fontsize=10, color=INK, wrap=True)
    figure.savefig(path, dpi=110)

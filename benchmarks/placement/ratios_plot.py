"""Every method over the true optimum, cluster by cluster, as a picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.placement.published.tables import MethodRun

_METHODS = {"k_path": ("k-path", "#4878a8"), "greedy": ("greedy", "#c06030")}
_SPREAD = 0.16


def save(runs: list[MethodRun], path: Path) -> None:
    """Draw the runs whose optimum was proved; random placements are off the scale."""
    drawn = Figure(figsize=(9.5, 4.2), layout="constrained")
    axes = drawn.subplots()
    settings = list(dict.fromkeys((run.network, run.capacity_mb) for run in runs))
    rng = np.random.default_rng(0)
    for nth, (method, (name, colour)) in enumerate(_METHODS.items()):
        at, ratios = [], []
        for x, setting in enumerate(settings):
            for run in runs:
                ratio = getattr(run, method) / run.ours
                proved = run.bound >= run.ours
                if (run.network, run.capacity_mb) == setting and proved and not math.isnan(ratio):
                    at.append(x + (nth - 0.5) * 2 * _SPREAD + rng.uniform(-_SPREAD, _SPREAD) * 0.8)
                    ratios.append(ratio)
        axes.scatter(at, ratios, s=13, color=colour, alpha=0.55, lw=0, label=name)
    axes.axhline(1.0, color="#303030", lw=1, label="optimum (ours, proved)")
    labels = [f"{network}\n{capacity} MB" for network, capacity in settings]
    axes.set_xticks(range(len(settings)), labels, rotation=60, ha="right", fontsize=8)
    axes.set_ylabel("longest transfer over the optimum")
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("Published placements over the true optimum, one point per random cluster")
    drawn.savefig(path, dpi=130)

"""Picture of measured against predicted values of a board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from common import extras
from envs.calibration.fitting.confidence import HeldOut
from envs.calibration.fitting.fit import Measured
from envs.calibration.samples import Kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = {
    Kind.HEAD: ("heads and whole", "#0072b2", "o"),
    Kind.TAIL: ("tails", "#d55e00", "v"),
    Kind.HOST: ("beside the network", "#009e73", "s"),
}
"""Colours of Okabe and Ito (2008), told apart by the colour-blind, and a mark for each."""
BAND, GREY = "#e4e7eb", "#8a8f98"
WITHIN = 0.05


def draw(
    path: Path, title: str, measured: Measured, latency: HeldOut, energy: HeldOut | None, note: str
) -> None:
    """Draw every sample against the prediction of a fit that has not seen it.

    Args:
        path: the file to write, PNG.
        title: of the picture.
        measured: the samples.
        latency: held-out latency.
        energy: the same of energy per run; None where it was not measured.
        note: what of it is modelled; empty for nothing.
    """
    extras.require("a picture of a calibration", "matplotlib")
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to import

    panels = [(latency, 1e3, "latency of one run, ms")]
    if energy is not None:
        panels.append((energy, 1e3, f"energy of one run, mJ{note}"))
    figure = Figure(figsize=(5.2 * len(panels), 4.8), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (held_out, scale, label) in zip(axes, panels, strict=True):
        _panel(axis, measured, held_out, scale)
        axis.set_xlabel(f"measured {label}")
        axis.set_ylabel("predicted by fits to the others")
        axis.set_title(f"off by {held_out.mean:.1%} on average", fontsize=10)
    axes[0].legend(frameon=False)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=130)


def _panel(axis: Axes, measured: Measured, held_out: HeldOut, scale: float) -> None:
    seen, predicted = scale * held_out.measured, scale * held_out.predicted
    ends = [0.8 * min(seen.min(), predicted.min()), 1.25 * max(seen.max(), predicted.max())]
    low, high = ([factor * end for end in ends] for factor in (1.0 - WITHIN, 1.0 + WITHIN))
    axis.fill_between(ends, low, high, color=BAND, linewidth=0.0)
    axis.plot(ends, ends, color=GREY, linewidth=0.8)
    kinds = measured.work.kind[held_out.index]
    for kind, (name, colour, mark) in LOOKS.items():
        mine = kinds == kind.value
        if mine.any():
            axis.scatter(
                seen[mine], predicted[mine], s=16.0, c=colour, marker=mark, alpha=0.7, label=name
            )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(*ends)
    axis.set_ylim(*ends)
    axis.spines[["top", "right"]].set_visible(False)

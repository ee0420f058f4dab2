"""Picture of measured against modelled values, board by board."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import extras
from hw.calibrate.measured.found import BoardFit
from hw.calibrate.report import Point

_LOOKS = {
    "xavier-nx": ("#0072b2", "s"),
    "agx-xavier": ("#56b4e9", "o"),
    "agx-orin": ("#d55e00", "D"),
    "orin-nx": ("#e69f00", "P"),
    "orin-nano": ("#cc79a7", "v"),
    "pi4": ("#009e73", "^"),
    "rk3588": ("#000000", "X"),
}
"""Colours of Okabe and Ito (2008), told apart by the colour-blind, and a mark for each."""
_PANELS = {
    "ratio": "latency over that at full speed",
    "latency": "latency, ms",
    "power": "power, W",
}
_SCALE = {"ratio": 1.0, "latency": 1e3, "power": 1.0}
MUTED, BAND = "#8a8f98", "#e4e7eb"
WITHIN = 0.15


def draw(fits: Mapping[str, BoardFit], path: Path) -> None:
    """Draw all points of all boards.

    Args:
        fits: by board.
        path: the file to write, PNG.
    """
    extras.require("a picture of device models", "matplotlib")
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to import

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(1, len(_PANELS), figsize=(13.0, 4.6), layout="constrained")
    for axis, quantity in zip(axes, _PANELS, strict=True):
        points = [p for fit in fits.values() for p in fit.points if p.quantity == quantity]
        _panel(axis, quantity, points)
    handles = [
        mpl.lines.Line2D([], [], color=colour, marker=shape, linestyle="", label=name)
        for name, (colour, shape) in _LOOKS.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _panel(axis: Any, quantity: str, points: list[Point]) -> None:
    scale = _SCALE[quantity]
    measured = [scale * point.measured for point in points]
    ends = (0.9 * min(measured), 1.1 * max(measured))
    low, high = ([factor * end for end in ends] for factor in (1.0 - WITHIN, 1.0 + WITHIN))
    axis.fill_between(ends, low, high, color=BAND, linewidth=0.0)
    axis.plot(ends, ends, color=MUTED, linewidth=0.8)
    for point in points:
        colour, shape = _LOOKS[point.board]
        for value, fill in ((point.fitted, "none"), (point.predicted, colour)):
            if value is not None:
                axis.plot(
                    *(scale * point.measured, scale * value),
                    color=colour,
                    marker=shape,
                    markersize=4.0,
                    markerfacecolor=fill,
                    markeredgewidth=0.6,
                    alpha=0.8,
                )
    scale_name = "log" if quantity == "latency" else "linear"
    axis.set(xscale=scale_name, yscale=scale_name, xlim=ends, ylabel="modelled")
    axis.set_xlabel(f"measured {_PANELS[quantity]}")
    axis.spines[["top", "right"]].set_visible(False)

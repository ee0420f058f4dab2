"""A profile as a picture: bytes at every cut, and the compute before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from partition.errors import PartitionError

_BYTES_COLOUR, _COMPUTE_COLOUR, _MARK_COLOUR = "#4878a8", "#c06030", "#202020"


def save(result: dict[str, Any], path: Path) -> None:
    """Draw what `partition.profile.measure.profile` returned.

    Raises:
        PartitionError: the file cannot be written.
    """
    try:
        figure(result).savefig(path, dpi=130)
    except (OSError, ValueError) as error:
        raise PartitionError(f"picture {path} cannot be written ({error}): choose another") from (
            error
        )


def figure(result: dict[str, Any]) -> Figure:
    """Bytes on the wire as bars on a logarithmic scale, cumulative compute as a line."""
    drawn = Figure(figsize=(10, 5.2), layout="constrained")
    axes = drawn.subplots()
    _draw_bytes(axes, result)
    _draw_compute(axes.twinx(), result)
    drawn.legend(loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    drawn.suptitle(f"{result['model']}: what a cut sends, and how much of the work lies before it")
    return drawn


def _draw_bytes(axes: Axes, result: dict[str, Any]) -> None:
    blocks = result["blocks"]
    depth = np.arange(1, len(blocks) + 1)
    int8_kb = np.array([block["int8_bytes"] for block in blocks]) / 1e3
    best = np.array([block["compressive"] for block in blocks])
    axes.bar(depth[~best], int8_kb[~best], color=_BYTES_COLOUR, alpha=0.45, label="cut as int8")
    axes.bar(depth[best], int8_kb[best], color=_BYTES_COLOUR, label="smaller than all before")
    for name, colour in (("raw_bytes", _MARK_COLOUR), ("jpeg_bytes", "#808080")):
        if result["input"][name]:
            label = "input, as JPEG" if name == "jpeg_bytes" else "input, as it is"
            axes.axhline(result["input"][name] / 1e3, color=colour, ls="--", lw=1, label=label)
    axes.set_yscale("log")
    axes.set_ylabel("kB on the wire")
    axes.set_xticks(depth, [_short(block["name"]) for block in blocks], rotation=90, fontsize=7)
    if len(blocks) > 45:
        axes.set_xticks(depth[::3], [_short(b["name"]) for b in blocks[::3]], rotation=90)
    axes.set_xlim(0.2, len(blocks) + 0.8)


def _draw_compute(axes: Axes, result: dict[str, Any]) -> None:
    blocks = result["blocks"]
    depth = np.arange(len(blocks) + 1)
    for key, style, label in (("flops", "-", "operations"), ("latency_s", ":", "measured time")):
        share = np.cumsum([0.0, *(block[key] for block in blocks)])
        axes.plot(depth, 100 * share / share[-1], style, color=_COMPUTE_COLOUR, label=label)
    axes.set_ylabel("% of the network before the cut", color=_COMPUTE_COLOUR)
    axes.set_ylim(0, 103)


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"..{name[-24:]}"

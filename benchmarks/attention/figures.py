"""Pictures of accuracy tables and of rankings; needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.evaluation.palette import (
    BLUE,
    GREEN,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PINK,
    SKY,
    VERMILION,
)
from partition.model.accuracy_table import AccuracyRow, AccuracyTable

COLOURS = (BLUE, VERMILION, GREEN, PINK, ORANGE, SKY)
RANKING_STYLES = {
    "attention": ("attention", COLOURS[0], "o", "-"),
    "fixed": ("one random order per run", COLOURS[2], "D", "--"),
    "random": ("random per image", MUTED, "s", "-"),
    "magnitude": ("magnitude", COLOURS[1], "^", "-"),
}


def bytes_figure(tables: Sequence[AccuracyTable]) -> Figure:
    """Accuracy over bytes on the wire, one panel per network, one line per cut."""
    figure = Figure(figsize=(6.2 * len(tables), 4.6), layout="constrained")
    panels = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
    for panel, table in zip(panels, tables, strict=True):
        _style(panel)
        _whole(panel, table.whole_accuracy)
        for colour, split in zip(COLOURS, table.appeals, strict=False):
            rows = [row for row in table.rows if row.split == split and row.xi > 0]
            for bits, marker, line in ((4, "o", "-"), (8, "s", ":")):
                mine = sorted((r for r in rows if r.bits == bits), key=lambda r: r.wire_bytes)
                label = f"{split} {_shape(mine)}" if bits == 4 else None
                _with_intervals(panel, mine, colour, marker, line, label)
        others = [r for r in table.rows if r.split not in table.appeals and r.split != "output"]
        panel.plot(
            [row.wire_bytes for row in others],
            [100 * row.accuracy for row in others],
            "x",
            color=MUTED,
            label="other cuts and the input, nothing trained",
        )
        panel.set_xscale("log")
        ticks = [100, 200, 500, 1000, 2000, 5000]
        panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        panel.minorticks_off()
        panel.set_xlabel("bytes on the wire per image")
        panel.set_title(table.model, fontsize=11, color=INK, fontweight="bold")
        panel.legend(fontsize=8, frameon=False, loc="lower right")
    panels[0].set_ylabel("test accuracy, %")
    figure.suptitle(
        "One line per cut, from a tenth of the channels to all; circles 4 bits, squares 8 bits",
        fontsize=9,
        color=INK,
    )
    return figure


def rankings_figure(results: Sequence[dict[str, Any]]) -> Figure:
    """Accuracy over xi for every ranking, and attention's paired lead, per network."""
    figure = Figure(figsize=(6.2 * len(results), 6.4), layout="constrained")
    grid = figure.subplots(
        2, len(results), squeeze=False, sharex=True, height_ratios=(3, 2), sharey="row"
    )
    for column, result in enumerate(results):
        above, below = grid[0][column], grid[1][column]
        _style(above)
        _style(below)
        _whole(above, result["whole_accuracy"])
        below.axhline(0, color=INK, linewidth=0.8)
        for place, (name, (label, colour, marker, line)) in enumerate(RANKING_STYLES.items()):
            shifted = [xi + 0.006 * (place - 1.5) for xi in result["xi"]]
            style: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": line}
            _triples(above, shifted, result["accuracy"][name], label, style)
            if name != "attention":
                triples = result["attention_minus"][name]["per_xi"]
                _triples(below, shifted, triples, None, style)
        below.set_xlabel("xi: share of channels sent, 4 bits")
        above.set_title(
            f"{result['model']}, {result['split']}", fontsize=11, color=INK, fontweight="bold"
        )
    grid[0][0].legend(fontsize=8.5, frameon=False, loc="lower right")
    grid[0][0].set_ylabel("fused test accuracy, %")
    grid[1][0].set_ylabel("attention's lead, points")
    seeds = len(results[0]["seeds"])
    figure.suptitle(
        f"Which channels to send, at equal bytes and equal training\n{seeds} seeds, "
        "95 % intervals over seeds and images",
        fontsize=9,
        color=INK,
    )
    return figure


def appeals_figure(tables: Sequence[AccuracyTable]) -> Figure:
    """Accuracy over the share of appeals, one panel per network, at its first cut."""
    figure = Figure(figsize=(6.2 * len(tables), 4.6), layout="constrained")
    panels = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
    for panel, table in zip(panels, tables, strict=True):
        split, found = next(iter(table.appeals.items()))
        _style(panel)
        shares = [100 * share for share in found["shares"]]
        for key, label, colour, line in (
            ("ideal", "ideal: knows both answers", INK, ":"),
            ("predicted", "second head (AppealNet)", COLOURS[0], "-"),
            ("confidence", "highest class probability", COLOURS[1], "--"),
            ("random", "by chance", MUTED, "-"),
        ):
            values = [100 * value for value in found[key]]
            panel.plot(shares, values, line, color=colour, label=label, linewidth=1.8)
        panel.plot(
            100 * found["share_of_appeals"],
            100 * found["accuracy"],
            "o",
            color=COLOURS[0],
            label="threshold chosen on validation images",
        )
        panel.set_xlabel("images that appeal to the cloud, %")
        panel.set_title(f"{table.model}, {split}", fontsize=11, color=INK, fontweight="bold")
        panel.legend(fontsize=8.5, frameon=False, loc="lower right")
    panels[0].set_ylabel("test accuracy, %")
    return figure


def _style(panel: Axes) -> None:
    panel.grid(visible=True, color=GRID, linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=8.5, colors=INK)


def _whole(panel: Axes, accuracy: float) -> None:
    name = f"unsplit float32, {100 * accuracy:.1f} %"
    panel.axhline(100 * accuracy, color=INK, linewidth=1, linestyle=(0, (1, 2)), label=name)


def _shape(rows: Sequence[AccuracyRow]) -> str:
    return f"({rows[0].channels} channels, {rows[0].float32_bytes:,} bytes in float32)"


def _with_intervals(
    panel: Axes,
    rows: Sequence[AccuracyRow],
    colour: str,
    marker: str,
    line: str,
    label: str | None,
) -> None:
    triples = [[row.accuracy, row.low, row.high] for row in rows]
    style = {"color": colour, "marker": marker, "linestyle": line}
    _triples(panel, [row.wire_bytes for row in rows], triples, label, style)


def _triples(
    panel: Axes,
    x: Sequence[float],
    triples: Sequence[Sequence[float]],
    label: str | None,
    style: dict[str, Any],
) -> None:
    """Draw mean, low and high, in percent."""
    means = [100 * mean for mean, _, _ in triples]
    below = [100 * (mean - low) for mean, low, _ in triples]
    above = [100 * (high - mean) for mean, _, high in triples]
    panel.errorbar(
        x, means, (below, above), label=label, markersize=4, linewidth=1.5, elinewidth=0.8, **style
    )

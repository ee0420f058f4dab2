"""Page and picture of the map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from agents.evaluation.palette import BLUE
from benchmarks.live.course import ETA
from benchmarks.page import machine, markdown
from benchmarks.splitting.cell import (
    BUSY,
    MOST_HZ,
    RATES_MBPS,
    RTT_MS,
    SERVER_GFLOP_PER_S,
    SLACK,
    MapCell,
    lost_without,
)
from benchmarks.splitting.inputs import QUALITY
from hw.device.model import DOMAINS

Map = dict[tuple[str, str, str], list[MapCell]]
"""Cells in the order of the rates, by device, network and kind of input."""
PLACES = ("board", "inside", "cloud")
LABELS = ("all on the board", "inside the network", "all in the cloud")
COLOURS = ("#d9d9d9", BLUE, "#f2b66d")
SHORT = {"cloud": "c", "inside": "**i**", "board": "b"}


def figure(found: Map) -> Figure:
    """A strip of rates for each device, network and kind of input."""
    rows = list(found)
    values = np.array([[PLACES.index(c.where) for c in found[row]] for row in rows])
    drawn = Figure(figsize=(8.0, 1.2 + 0.2 * len(rows)), layout="constrained")
    axes = drawn.add_subplot()
    axes.imshow(values, aspect="auto", cmap=ListedColormap(COLOURS), vmin=0, vmax=len(PLACES) - 1)
    for y, row in enumerate(rows):
        for x, each in enumerate(found[row]):
            if each.where == "inside" and each.without_inside >= 0.005:
                text = f"{100 * each.without_inside:.0f}"
                axes.text(x, y, text, ha="center", va="center", color="white", fontsize=7)
    axes.set_xticks(range(len(RATES_MBPS)), [f"{rate:g}" for rate in RATES_MBPS])
    axes.set_yticks(range(len(rows)), [f"{net}, {kind}, {dev}" for dev, net, kind in rows])
    axes.tick_params(labelsize=7)
    axes.set_xlabel("link, Mbit/s; white: per cent of cost lost without cuts inside")
    handles = [
        Patch(color=colour, label=label) for label, colour in zip(LABELS, COLOURS, strict=True)
    ]
    drawn.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    return drawn


PAGE = """# Where splitting pays

Made by `{call}`. All of it is modelled, boards at rest: a link of {rtt:g} ms, an idle server of
{server:g} GFLOP/s (one x86 core), eta {eta:g}; requests come so often that the board alone would
be busy for {busy:.0%} of the time at its highest clocks, {most:g} times a second at most, and are
in time within {slack:g} times what it takes then. Every action is weighed; the cheapest is what a
perfect decider takes.

{summary}

![where the cheapest action cuts]({picture})

## Where the cheapest action cuts

By link rate in Mbit/s: **i** inside the network, b all on the board, c all in the cloud. *Without
cuts inside*: how much more the cheapest of the others costs, at its most over the rates. The last
columns: how much more it costs on average over the rates if a clock stays at its best single
place for all of them.

{table}

JPEG has quality {quality}, sizes and encoding times are medians of real pictures; the time was
counted on an x86 core and is taken for as many cycles of the board's. What JPEG loses of the
answer is not weighed: on EfficientNet-Lite0 a picture of that quality gives the first choice of
the unsplit network less often than any cut in 8 bits ([fidelity.md](fidelity.md)).

## Made on

{machine}
"""


def page(found: Map, call: str, picture: str) -> str:
    """Write the page."""
    head = ["network", "input", "board", *(f"{rate:g}" for rate in RATES_MBPS)]
    head += ["without cuts inside", *(f"{axis} fixed" for axis in DOMAINS)]
    return PAGE.format(
        call=call,
        rtt=RTT_MS,
        eta=ETA,
        server=SERVER_GFLOP_PER_S,
        busy=BUSY,
        most=MOST_HZ,
        slack=SLACK,
        summary=_summary(found),
        picture=picture,
        table=markdown([head, *(_line(row, cells) for row, cells in found.items())]),
        quality=QUALITY,
        machine=machine(),
    )


def _line(row: tuple[str, str, str], cells: Sequence[MapCell]) -> list[str]:
    device, network, kind = row
    worst = max(each.without_inside for each in cells)
    domains = cells[0].domains
    lost = {name: lost_without(list(cells), axis) for axis, name in enumerate(domains)}
    shown = [f"{100 * lost[name]:.1f} %" if name in lost else "-" for name in DOMAINS]
    places = [SHORT[each.where] for each in cells]
    return [network, kind, device, *places, f"{100 * worst:.1f} %", *shown]


def _summary(found: Map) -> str:
    """How often the cheapest action cuts inside, by network and kind of input."""
    sentences = []
    groups = dict.fromkeys((network, kind) for _, network, kind in found)
    for network, kind in groups:
        cells = [c for (_, n, k), each in found.items() if (n, k) == (network, kind) for c in each]
        share = np.mean([c.where == "inside" for c in cells])
        lost = np.mean([c.without_inside for c in cells])
        sentences.append(
            f"- {network}, {kind}: inside in {share:.0%} of the cells, worth {100 * lost:.1f} % of "
            "the cost on average over all"
        )
    return "\n".join(sentences)

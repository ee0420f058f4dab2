"""Dynamic split computing under its own conditions: `python -m benchmarks.papers.dynamic_split`.

Writes `dynamic-split.md` and `.png`: the natural bottlenecks of the paper's networks beside those
that are found here, and which of them its rule takes over bandwidth and batch. All of it is counted
or modelled; networks have random weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from agents.baselines.dynamic_split import DynamicSplitting
from agents.deciders.nominal import NominalModel
from agents.evaluation.palette import INK
from agents.evaluation.plots import save
from agents.training.run import open_or_prepare
from benchmarks.page import machine, markdown, write_page
from benchmarks.papers.networks import folder
from common import command
from envs.plant import Indices
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from envs.sim.sim_config import SimConfig
from partition.model.folder import ModelFolder
from partition.profile.measure import count_blocks

DEVICE, NETWORK, SCENARIO = "nano", "efficientnet-lite0", "steady-wifi"
REPORTED = {
    "efficientnet-b0": (0.5, 0.208, 0.104, 0.0625),
    "mobilenet-v2": (0.5, 0.167, 0.083, 0.052),
    "resnet-50": (0.667,),
    "vgg16": (0.667, 0.167),
    "convnext-tiny": (0.5, 0.25),
    "swin-tiny": (0.5, 0.25),
    "vit": (),
}
"""Sizes of the compressive bottlenecks over the input's, counted again from the published
architectures at the ends of their blocks."""
ALIKE = 0.002
SMALLEST_SHOWN = 0.01
"""Of the input; pooled vectors and logits are behind nearly all of the work."""
BYTES_PER_S = np.geomspace(1e6, 127e6, 60)
BATCHES = np.arange(1, 63)
"""As the paper has them; a batch of n stands for a server that has n requests to share itself."""


@dataclass(frozen=True, slots=True)
class Bottlenecks:
    """Of a network.

    Attributes:
        compressive: sizes over the input's, descending.
        n_natural: cuts with fewer values than the input.
        n_cuts: all.
    """

    compressive: tuple[float, ...]
    n_natural: int
    n_cuts: int

    @classmethod
    def of(cls, network: ModelFolder) -> Bottlenecks:
        """Count them at every place where the graph can be cut."""
        blocks = count_blocks(network)
        sizes = tuple(float(block["compression"]) for block in blocks if block["compressive"])
        return cls(sizes, sum(block["natural"] for block in blocks), len(blocks))


def line(name: str, found: Bottlenecks) -> list[str]:
    """Row of the table."""
    theirs = REPORTED[name]
    there = [size for size in theirs if any(abs(c - size) < ALIKE for c in found.compressive)]
    missing = [f"{size:g}" for size in theirs if size not in there]
    others = [c for c in found.compressive if not any(abs(c - s) < ALIKE for s in theirs)]
    shown = [f"{c:.3g}" for c in others if c >= SMALLEST_SHOWN]
    return [
        name,
        ", ".join(f"{size:g}" for size in theirs) or "none",
        f"all but {', '.join(missing)}" if missing else "all",
        ", ".join(shown) or "none",
        f"{found.n_natural} of {found.n_cuts}",
    ]


def chosen(world: SimConfig) -> Indices:
    """Routes that the rule takes, shape (n_batches, n_bandwidths)."""
    known = NominalModel.of(world)
    readings = BatchedSimulator(world, 1).reset(np.zeros(1, np.uint64))
    batch, rate = np.meshgrid(BATCHES, BYTES_PER_S, indexing="ij")
    n = batch.size
    many = replace(
        readings,
        link_bps=8.0 * rate.ravel(),
        server_idle=1.0 / batch.ravel(),
        rtt_s=np.repeat(readings.rtt_s, n),
        server_flops_per_s=np.repeat(readings.server_flops_per_s, n),
    )
    return DynamicSplitting(known).routes(many).reshape(batch.shape)


def picture(world: SimConfig, routes: Indices) -> Figure:
    """Map of the cuts that are taken."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    panel = figure.subplots()
    used = np.unique(routes)
    shades = np.linspace(0.1, 0.9, len(used))
    colours = ListedColormap([(s, 0.35 + 0.5 * s, 0.75 - 0.5 * s) for s in shades])
    places = np.searchsorted(used, routes)
    drawn = panel.pcolormesh(
        BYTES_PER_S / 1e6,
        BATCHES,
        places,
        cmap=colours,
        vmin=-0.5,
        vmax=len(used) - 0.5,
        shading="nearest",
    )
    bar = figure.colorbar(drawn, ax=panel, ticks=range(len(used)))
    bar.ax.set_yticklabels([world.route_names[r] for r in used], fontsize=8)
    panel.set_xscale("log")
    panel.set_xlabel("bandwidth, MB/s", color=INK)
    panel.set_ylabel("batch of the server", color=INK)
    return figure


def make(out: Path) -> str:
    """Count, choose, and write the page."""
    lines = [line(name, Bottlenecks.of(ModelFolder.open(folder(name)))) for name in REPORTED]
    world = build_sim_config(DEVICE, open_or_prepare(NETWORK), [SCENARIO])
    routes = chosen(world)
    save(picture(world, routes), out)
    taken = [world.route_names[r] for r in np.unique(routes)]
    head = ["network", "at the ends of blocks", "found here", "besides", "natural, of all cuts"]
    return f"""# Dynamic split computing under its own conditions

    python -m benchmarks.papers.dynamic_split

A natural bottleneck has fewer values than the input, a compressive one fewer than every cut before
it, too. The paper counts the ends of blocks (the second column: counted again from the published
architectures, not copied); here every place where the graph can be cut is looked at, so that there
are more. Sizes are over the input's, down to {SMALLEST_SHOWN:g}.

{markdown([head, *lines])}

Which cut its rule takes for {NETWORK} on a modelled {DEVICE} at the highest clocks, 8-bit values on
the wire: {", ".join(taken)}.

![cut over bandwidth and batch](dynamic-split.png)

## Made on

{machine()}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Count, choose and write; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.papers.dynamic_split",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (%(default)s)")
    arguments = parser.parse_args(argv)
    return write_page(
        lambda: make(arguments.out / "dynamic-split.png"), arguments.out / "dynamic-split.md"
    )


if __name__ == "__main__":
    sys.exit(command.run(main))

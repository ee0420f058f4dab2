"""DVFO under its own conditions: `python -m benchmarks.papers.dvfo`.

Writes `dvfo.md`: inference after inference over a link of 0.5 to 8 Mbit/s, without any deadline,
energy and latency apart; its rivals under stock governors, as in the paper, and at the highest
clocks. A run that was cut goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from agents.evaluation.rows import ALL
from agents.evaluation.statistics import Interval
from agents.training.run import open_or_prepare
from agents.training.workers import n_cores
from benchmarks.page import machine, markdown, write_page
from benchmarks.papers.networks import MADE, folder
from benchmarks.policies import plan
from benchmarks.policies.run import MeasuredDecider, run_jobs
from benchmarks.policies.table import Key, Samples, by_case, ratio
from common import command
from partition.cli import positive

DEVICES = ("nano", "tx2")
"""The paper's third, a Xavier NX, is too quick for what is tabulated of governors: back to back a
network of 3 ms keeps it busy, and 32 requests a second, the most of the table, do not."""
NETWORKS = ("efficientnet-b0", "efficientnet-lite0", "fashion-resnet")
"""The first is one of the paper's; the last chooses the offload ratio xi, too, and its accuracy is
known."""
RATES_MBPS = (0.5, 2.0, 4.0, 8.0)
SCENARIOS = tuple(str(Path(__file__).with_name(f"dvfo-{r:g}-mbit.toml")) for r in RATES_MBPS)
DVFO, OURS = "dvfo", plan.OURS
GOVERNED = ("edge-only", "cloud-only", "appealnet")
"""Rivals of the paper that choose no clocks, which are left to stock governors."""
AT_TOP = ("max-edge", "max-cloud", "max-appealnet")
"""The same at the highest clocks."""
DRLDO = "drldo"
"""Its fourth rival, which sets the processor's clock."""
BESIDE = ("best-static", "oracle")
N_SEEDS, N_EPISODES = 3, 4
FITS = Path("results/runs/dvfo")
PUBLISHED_ENERGY, PUBLISHED_LATENCY = -0.33, (-0.591, -0.286)
"""Of DVFO against its rivals (arXiv 2306.01811, abstract of version 3): energy on average, latency
from best to worst."""


def jobs(n_seeds: int, devices: Sequence[str], networks: Sequence[str]) -> list[plan.BenchmarkJob]:
    """Everybody on each board with each network, fitted to all rates of the link."""
    return plan.jobs(
        [
            plan.Case(
                device=device,
                model=_model(network),
                deciders=(DVFO, OURS, *GOVERNED, *AT_TOP, DRLDO, *BESIDE),
                scenarios=SCENARIOS,
                n_seeds=n_seeds,
                n_episodes=N_EPISODES,
            )
            for device in devices
            for network in networks
        ]
    )


def _model(network: str) -> str:
    """Name or folder."""
    return str(folder(network)) if network in MADE else network


def page(results: Sequence[MeasuredDecider]) -> str:
    """Write the tables of whatever is finished."""
    parts, found = [], {}
    for key, case in by_case(results).items():
        samples = Samples(case)
        found[key] = samples
        parts.append(_section(key, samples))
    body = "\n".join(parts)
    return f"""# DVFO under its own conditions

    python -m benchmarks.papers.dvfo

Inference after inference, each when the one before has its answer; links of
{", ".join(f"{rate:g}" for rate in RATES_MBPS)} Mbit/s, all alike frequent; no deadline; cost half
energy, half time at the board's highest power, as DVFO's. Energy is the whole board's for an
inference, idle units and radio included. All of it is modelled: boards, governors within the step,
a server of 1 TFLOP/s, a round trip of 2 ms. The paper has EfficientNet-B0, ViT-B/16, ResNet-18,
Inception-v4, YOLOv3-Tiny and DeepSpeech; here are the first of them, without xi, a network of ours
like it, and a small one for Fashion-MNIST with xi. `dvfo` is its learner with every clock and every
route; `{OURS}` is the default of `train.py`; both were trained on these links, once for each seed.
What leaves clocks to governors stands first, as in the paper; `max-` is at the highest clocks;
`{DRLDO}` sets the processor's clock. The first table is the mean of the changes at each rate and
against each of the same three rivals, with the least and the largest.

{markdown([SUMMARY, *_summary(found)])}

The paper's comparison leaves its rivals to governors; that the same rivals at the highest clocks
are another comparison is why both stand here.

{body}
## Made on

{machine()}
"""


SUMMARY = [
    "board",
    "network",
    "energy: governed rivals",
    "at the highest clocks",
    "published",
    "latency: governed rivals",
    "at the highest clocks",
    "published",
]


def _summary(found: dict[Key, Samples]) -> list[list[str]]:
    """DVFO against its rivals on average, as the paper has it."""
    low, high = (100 * share for share in PUBLISHED_LATENCY)
    lines = []
    for (device, network), samples in found.items():
        energy, latency = (
            [_range(samples, metric, rivals) for rivals in (GOVERNED, AT_TOP)]
            for metric in ("energy_j", "latency_s")
        )
        lines.append(
            [
                device,
                Path(network).name,
                *energy,
                f"{100 * PUBLISHED_ENERGY:+.0f} %",
                *latency,
                f"{low:+.1f} to {high:+.1f} %",
            ]
        )
    return lines


def _range(samples: Samples, metric: str, rivals: Sequence[str]) -> str:
    """Mean over rivals and rates, and the two ends."""
    changes = [
        100 * (ratio(samples, metric, DVFO, rival, where).mean - 1.0)
        for rival in rivals
        for where in samples.groups[ALL]
    ]
    return f"{np.mean(changes):+.0f} % ({min(changes):+.0f} to {max(changes):+.0f})"


def _section(key: Key, samples: Samples) -> str:
    device, network = key
    head = ["decider", "J", "ms", "accuracy", "cost", "energy of `dvfo` beside it", "latency"]
    head += [f"J, ms at {rate:g} Mbit/s" for rate in RATES_MBPS]
    lines = [_line(samples, name) for name in samples.deciders]
    return f"""## {device}, {Path(network).name}

{len(samples.seeds)} seeds, {N_EPISODES} held-out episodes of each rate.

{markdown([head, *lines])}
"""


def _line(samples: Samples, name: str) -> list[str]:
    def mean(metric: str, scenario: str = ALL) -> float:
        return samples.mean(name, scenario, metric)

    accuracy = mean("accuracy")
    return [
        name,
        f"{mean('energy_j'):.3f}",
        f"{1e3 * mean('latency_s'):.0f}",
        "unknown" if np.isnan(accuracy) else f"{100 * accuracy:.1f} %",
        f"{mean('cost'):.3f}",
        *("" if name == DVFO else _change(ratio(samples, m, DVFO, name, ALL)) for m in METRICS),
        *(f"{mean('energy_j', s):.3f}, {1e3 * mean('latency_s', s):.0f}" for s in _names()),
    ]


METRICS = ("energy_j", "latency_s")


def _names() -> list[str]:
    return [Path(scenario).stem for scenario in SCENARIOS]


def _change(share: Interval) -> str:
    mean, low, high = (100 * (value - 1.0) for value in (share.mean, share.low, share.high))
    return f"{mean:+.0f} % ({low:+.0f} to {high:+.0f})"


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, run and write; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.papers.dvfo", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (%(default)s)")
    parser.add_argument("--seeds", type=positive, default=N_SEEDS, help="of each (%(default)s)")
    parser.add_argument("--devices", nargs="+", default=DEVICES, help="(%(default)s)")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="(%(default)s)")
    parser.add_argument(
        "--processes", type=positive, default=n_cores(), help="jobs at once (%(default)s)"
    )
    arguments = parser.parse_args(argv)

    def make() -> str:
        for network in set(arguments.networks) - set(MADE):
            open_or_prepare(network)
        todo = jobs(arguments.seeds, arguments.devices, arguments.networks)
        report = partial(print, file=sys.stderr, flush=True)
        return page(run_jobs(todo, FITS, (), arguments.processes, report))

    return write_page(make, arguments.out / "dvfo.md")


if __name__ == "__main__":
    sys.exit(command.run(main, "the same command goes on after the last finished job"))

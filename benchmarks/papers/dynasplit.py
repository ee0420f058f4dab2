"""DynaSplit under its own conditions: `python -m benchmarks.papers.dynasplit`.

Writes `dynasplit.md`: a Raspberry Pi 4 beside a server whose energy counts, VGG16 and ViT-B/16,
thresholds from a Weibull distribution; how many are met, and what is saved against cloud-only. A
run that was cut goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tomli_w

from agents.evaluation.rows import ALL
from agents.training.workers import n_cores
from benchmarks.page import machine, markdown, write_page
from benchmarks.papers.networks import folder
from benchmarks.policies import plan
from benchmarks.policies.run import MeasuredDecider, run_jobs
from benchmarks.policies.table import Key, Samples, by_case, ratio
from common import command
from hw.device.file import device_path
from partition.cli import positive
from partition.model.network_costs import NetworkCosts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEVICE, EDGE_S = "pi4", 3.93
CLOUD, EDGE, PUBLISHED, MENDED = "max-cloud", "max-edge", "dynasplit-published", "dynasplit"
DECIDERS = (CLOUD, EDGE, PUBLISHED, MENDED, plan.OURS, "model-search", "best-static", "oracle")
WEIGHTS = (("deadline", 20.0),)
"""A threshold weighs more than all energy that could be saved by missing it, as in the paper: there
energy is only looked at where thresholds are met."""
N_SEEDS, N_EPISODES = 3, 8
FITS = Path("results/runs/dynasplit")


@dataclass(frozen=True, slots=True)
class Reported:
    """Of fifty requests on the paper's testbed, from its published measurements.

    Attributes:
        energy_j: mean of a request, board and server.
        met: share of thresholds.
    """

    energy_j: float
    met: float


REPORTED = {
    "vgg16": {
        CLOUD: Reported(69.06, 0.98),
        EDGE: Reported(2.44, 0.76),
        PUBLISHED: Reported(19.22, 0.96),
    },
    "vit": {
        CLOUD: Reported(91.21, 0.98),
        EDGE: Reported(17.00, 0.14),
        PUBLISHED: Reported(87.75, 0.82),
    },
}
"""By network and decider."""


def measured_board(out: Path) -> Path:
    """A Raspberry Pi on which ViT-B/16 takes what it took on the paper's.

    Args:
        out: folder of the device file.
    """
    document = tomllib.loads(device_path(DEVICE).read_text(encoding="utf-8"))
    cycles = float(document["workloads"]["vit_b16_edge"]["cpu_cycles"])
    flops = NetworkCosts.open(folder("vit")).routes[-1].edge.flops
    document["name"] = f"{DEVICE}-dynasplit"
    document["runtimes"] = {
        "dynasplit": {
            "measured": "ViT-B/16, all of it on the processor, at 1800 MHz (arXiv 2410.23881)",
            "assumed": "any other network or clock: in proportion",
            "network": {
                "fixed_s_per_kernel": 0.0,
                "cpu_cycles_per_kernel": 0.0,
                "cpu_cycles_per_flop": cycles / flops,
                "gpu_cycles_per_kernel": 0.0,
                "gpu_cycles_per_flop": 0.0,
                "emc_cycles_per_kernel": 0.0,
                "emc_cycles_per_byte": 0.0,
            },
        }
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{document['name']}.toml"
    path.write_text(tomli_w.dumps(document), encoding="utf-8")
    return path


def scenario(name: str) -> str:
    """File of a network's requests."""
    return str(Path(__file__).with_name(f"dynasplit-{name}.toml"))


def jobs(n_seeds: int, names: Sequence[str]) -> list[plan.BenchmarkJob]:
    """Everybody with each network."""
    return plan.jobs(
        [
            plan.Case(
                device=str(measured_board(FITS)),
                model=str(folder(name)),
                deciders=DECIDERS,
                scenarios=(scenario(name),),
                n_seeds=n_seeds,
                n_episodes=N_EPISODES,
                weights=WEIGHTS,
            )
            for name in names
        ]
    )


def page(results: Sequence[MeasuredDecider]) -> str:
    """Write the tables of whatever is finished."""
    body = "\n".join(_section(key, Samples(case)) for key, case in by_case(results).items())
    return f"""# DynaSplit under its own conditions

    python -m benchmarks.papers.dynasplit

A Raspberry Pi 4 and a server whose energy counts for each request that it answers, requests one
after the other; each control step draws a threshold as the paper drew them for its requests, and
counts as one. All of it is modelled: the board by the paper's own edge-only run of ViT-B/16
({EDGE_S} s at 1800 MHz), in proportion to the operations; the server by its cloud-only runs and by
splits that left it next to nothing to do. **The paper's board had an edge TPU, ours has none**: its
VGG16 takes 0.43 s and 2.4 J there, which no clock of a Pi reaches, so that only ViT-B/16, which its
TPU could not run, is comparable. Energy of a request is board and server together.
`{PUBLISHED}` is the method as described, `{MENDED}` has both extremes among its candidates and
weighs link and load, the others minimise the same energy with a missed threshold at
{WEIGHTS[0][1]:g} times the reference.

{body}
## Made on

{machine()}
"""


def _section(key: Key, samples: Samples) -> str:
    name = Path(key[1]).name
    head = ["decider", "J", "saved against cloud-only", "met", "ms", "paper: J", "saved", "met"]
    lines = [_line(samples, decider, name) for decider in samples.deciders]
    return f"""## {name}

{len(samples.seeds)} seeds, {N_EPISODES} held-out episodes of each.

{markdown([head, *lines])}
"""


def _line(samples: Samples, decider: str, name: str) -> list[str]:
    share = ratio(samples, "energy_j", decider, CLOUD, ALL)
    saved, low, high = (100 * (1.0 - value) for value in (share.mean, share.high, share.low))
    theirs = REPORTED[name]
    paper = ["", "", ""]
    if decider in theirs:
        found = theirs[decider]
        of_cloud = 1.0 - found.energy_j / theirs[CLOUD].energy_j
        paper = [f"{found.energy_j:.1f}", f"{100 * of_cloud:.1f} %", f"{100 * found.met:.0f} %"]
    return [
        decider,
        f"{samples.mean(decider, ALL, 'energy_j'):.1f}",
        f"{saved:.1f} % ({low:.1f} to {high:.1f})",
        f"{100 * samples.mean(decider, ALL, 'deadline_hit_rate'):.1f} %",
        f"{1e3 * samples.mean(decider, ALL, 'latency_s'):.0f}",
        *paper,
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, run and write; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.papers.dynasplit", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (%(default)s)")
    parser.add_argument("--seeds", type=positive, default=N_SEEDS, help="of each (%(default)s)")
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=tuple(REPORTED),
        default=tuple(REPORTED),
        help="(%(default)s)",
    )
    parser.add_argument(
        "--processes", type=positive, default=n_cores(), help="jobs at once (%(default)s)"
    )
    arguments = parser.parse_args(argv)

    def make() -> str:
        report = partial(print, file=sys.stderr, flush=True)
        todo = jobs(arguments.seeds, arguments.networks)
        return page(run_jobs(todo, FITS, (), arguments.processes, report))

    return write_page(make, arguments.out / "dynasplit.md")


if __name__ == "__main__":
    sys.exit(command.run(main, "the same command goes on after the last finished job"))

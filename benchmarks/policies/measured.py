"""Policies of a fitted model, judged by measurements: `python -m benchmarks.policies.measured`.

Writes `measured.md`. VGG19 on a Jetson TX2 was measured at 52 combinations of GPU and memory clock,
its power at the 13 of the highest memory clock. Everybody is fitted to a device model that has seen
ten of the latencies, and is judged on boards that are as fast, and draw as much, as was measured. A
run that was cut goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from agents.evaluation.rows import ALL
from agents.evaluation.statistics import Interval
from agents.training.workers import n_cores
from benchmarks.calibration.tables import Table
from benchmarks.page import machine, markdown, write_page
from benchmarks.papers.networks import folder as network_folder
from benchmarks.policies import plan
from benchmarks.policies.compared import REFITTED
from benchmarks.policies.measured_table import DATA, measured_grid
from benchmarks.policies.run import MeasuredDecider, run_jobs
from benchmarks.policies.table import ORACLE, Samples, ratio
from benchmarks.policies.world import job_world
from common import command
from envs.calibration.fitting.latency_form import LatencyForm
from hw.boards.measured_table import load
from hw.replay import describe
from partition.cli import positive
from partition.model.network_costs import NetworkCosts

TABLE, NETWORK = "vgg19_N2", "vgg19"
SERVER_GFLOP_PER_S = 2000.0
"""Assumed: a small GPU. At the usual 150, half a processor, nobody would send 39 GFLOP away."""
DECIDERS = (
    ORACLE,
    plan.OURS,
    "ppo",
    "dvfo",
    "model-search",
    "best-static",
    REFITTED,
    "two-points",
    "closed-form",
    "max-edge",
    "max-cloud",
    "governor",
)
N_POINTS = 10
FORM = LatencyForm(1, ("fixed", "gpu", "emc"))
"""Of a device file, whose networks overlap as most do."""
N_SEEDS, N_EPISODES = 3, 6
FITS = Path("results/runs/measured")


def fitted_device(network: str, flops: float, folder: Path) -> Path:
    """A device file whose network scaling is fitted to ten points of a table.

    Clocks are those of the table; power and all else are the TX2's.

    Args:
        network: of `hw.boards.measured_table.network_names`.
        flops: its operations, as they are counted here.
        folder: of the file.

    Raises:
        DeviceFileError: the measured data are not there, or damaged.
    """
    points = Table(DATA, network, N_POINTS, FORM)
    found = FORM.coefficients(points.fitted(points.planned_points()))
    fixed_s, gpu, emc = (float(found[name][0]) / flops for name in FORM.terms)
    document: dict[str, Any] = describe(load(DATA, network), DATA, f"tx2-{network.lower()}")
    document["network"] = {
        "fixed_s_per_kernel": 0.0,
        "cpu_cycles_per_kernel": 0.0,
        "cpu_cycles_per_flop": 0.0,
        "gpu_cycles_per_kernel": 0.0,
        "gpu_cycles_per_flop": gpu,
        "emc_cycles_per_kernel": 0.0,
        "emc_cycles_per_byte": 0.0,
        "emc_cycles_per_flop": emc,
        "fixed_s_per_flop": fixed_s,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{document['name']}.toml"
    path.write_text(tomli_w.dumps(document), encoding="utf-8")
    return path


def jobs(n_seeds: int) -> list[plan.BenchmarkJob]:
    """Everybody, fitted to the model, judged by the table."""
    model = network_folder(NETWORK)
    flops = NetworkCosts.open(model).routes[-1].edge.flops
    case = plan.Case(
        device=str(fitted_device(TABLE, flops, FITS)),
        model=str(model),
        deciders=DECIDERS,
        n_seeds=n_seeds,
        n_episodes=N_EPISODES,
        server_gflop_per_s=SERVER_GFLOP_PER_S,
        table=TABLE,
    )
    return plan.jobs([case])


def page(results: Sequence[MeasuredDecider]) -> str:
    """Write the tables of whatever is finished."""
    samples = Samples(results)
    grid = measured_grid(job_world(results[0].job), TABLE)
    unseen = np.ones(grid.work.size, dtype=np.bool_)
    points = Table(DATA, TABLE, N_POINTS, FORM)
    for gpu_hz, emc_hz in points.rows_hz(points.planned_points()):
        unseen[_place(results[0].job, gpu_hz, emc_hz)] = False
    off = 100.0 * np.abs(1.0 / grid.work.ravel()[unseen] - 1.0)
    more = 100.0 * (grid.busy_power[..., -1] - 1.0)
    head = ["decider", "J", "ms", "in time", "cost", "above the oracle's"]
    lines = [_line(samples, name) for name in samples.deciders]
    return f"""# Policies of a fitted model, judged by measurements

    python -m benchmarks.policies.measured

VGG19 under TensorRT on a Jetson TX2. What decides is trained, searched or fitted with a device
model that has seen {N_POINTS} of 52 measured latencies (off by {off.mean():.1f} % on average,
{off.max():.1f} % at most, on the {off.size} others); the boards that judge it take the measured
latency at each of the 52 combinations of GPU and memory clock. What load adds to their power is as
measured at the highest memory clock ({more.min():+.1f} to {more.max():+.1f} % beside the model; at
others taken to be as far off). **Only latency is held out**: everybody's power model was fitted to
the same 13 readings. `oracle` and `{REFITTED}` know all latencies, nobody else does.

| figure | what it is |
| --- | --- |
| latency of all of VGG19, by clocks | measured |
| latency of a part of it | modelled: its share of the operations |
| power while it computes, memory at 1866 MHz | measured, and seen by the fit |
| power at other memory clocks, idle power | fitted to measurements |
| links, requests, the server of {SERVER_GFLOP_PER_S:.0f} GFLOP/s, heat | modelled |

{len(samples.seeds)} seeds of each fit, {N_EPISODES} held-out episodes of each in all scenarios,
95 % bootstrap intervals.

{markdown([head, *lines])}

## Made on

{machine()}
"""


def _place(job: plan.BenchmarkJob, gpu_hz: float, emc_hz: float) -> int:
    """Of two clocks in the grid, flat."""
    device = job_world(job).device
    gpu, emc = list(device.gpu_hz).index(gpu_hz), list(device.emc_hz).index(emc_hz)
    return int(gpu * len(device.emc_hz) + emc)


def _line(samples: Samples, name: str) -> list[str]:
    def mean(metric: str) -> float:
        return samples.mean(name, ALL, metric)

    return [
        name,
        f"{mean('energy_j'):.3f}",
        f"{1e3 * mean('latency_s'):.0f}",
        f"{100 * mean('deadline_hit_rate'):.1f} %",
        f"{mean('cost'):.3f}",
        _above(ratio(samples, "cost", name, ORACLE, ALL)),
    ]


def _above(share: Interval) -> str:
    mean, low, high = (100 * (value - 1.0) for value in (share.mean, share.low, share.high))
    return f"{mean:+.1f} % ({low:+.1f} to {high:+.1f})"


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, run and write; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies.measured", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (%(default)s)")
    parser.add_argument("--seeds", type=positive, default=N_SEEDS, help="of each (%(default)s)")
    parser.add_argument(
        "--processes", type=positive, default=n_cores(), help="jobs at once (%(default)s)"
    )
    arguments = parser.parse_args(argv)

    def make() -> str:
        report = partial(print, file=sys.stderr, flush=True)
        return page(run_jobs(jobs(arguments.seeds), FITS, (), arguments.processes, report))

    return write_page(make, arguments.out / "measured.md")


if __name__ == "__main__":
    sys.exit(command.run(main, "the same command goes on after the last finished job"))

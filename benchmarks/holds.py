"""Pinned clocks against capped ones with the governor below: `python -m benchmarks.holds`.

For each device what the best fixed action and the oracle cost under either hold, how well the table
of governed clocks stands for sub-steps, and what it costs in training.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from agents.baselines.best_static import best_static
from agents.deciders.base import Decider
from agents.deciders.oracle import Oracle
from agents.evaluation.episodes import Episodes, run_episodes
from agents.evaluation.palette import BLUE
from agents.learning.export import set_threads
from agents.seeds import held_out_seeds, search_seeds
from agents.training.learn import train
from benchmarks.page import machine, markdown, write_page
from common import command
from envs.governed.compare import TableErrors, table_errors
from envs.governed.table import GovernedTable
from envs.governed.table_file import TABLES, keep, open_table
from envs.sim.build import build_sim_config
from envs.sim.sim_config import SimConfig
from hw.device.file import device_names

MODEL = "efficientnet-lite0"
N_FITTED, N_JUDGED = 26, 39
N_CASES = 200
CASES = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.3))
"""Irregularity of requests, and other work."""
GOOD = 0.02
TRAINED_STEPS = 200_000


@dataclass(frozen=True, slots=True)
class HoldResult:
    """What deciders cost on a device under a hold.

    Attributes:
        action: best fixed one.
        static: its episodes.
        oracle: of the oracle.
    """

    action: tuple[int, ...]
    static: Episodes
    oracle: Episodes


def judged(world: SimConfig) -> HoldResult:
    """Fit and judge on episodes of all scenarios."""
    seeds = held_out_seeds(0, N_JUDGED)

    def episodes(decider: Decider) -> Episodes:
        return run_episodes(world, decider, seeds)

    static = best_static(world, search_seeds(0, N_FITTED))
    return HoldResult(static.action, episodes(static), episodes(Oracle()))


def cost_line(device: str, pinned: HoldResult, capped: HoldResult) -> list[str]:
    """A row of the table of costs."""
    cells = [device]
    for name in ("static", "oracle"):
        for result in (pinned, capped):
            found: Episodes = getattr(result, name)
            cells.append(f"{found.cost.mean():.3f}")
    for result in (pinned, capped):
        energy_j, hits = result.oracle.energy_j.mean(), result.oracle.deadline_hit_rate.mean()
        cells.append(f"{energy_j:.3f} J, {100 * hits:.1f} %")
    difference = capped.oracle.cost.mean() / pinned.oracle.cost.mean() - 1.0
    return [*cells, f"{'pin' if difference > 0 else 'cap'}, by {100 * abs(difference):.1f} %"]


def error_line(device: str, scv: float, load: float, errors: TableErrors) -> list[str]:
    """A row of the table of errors."""
    cells = [device, "random" if scv else "even", f"{load:g}"]
    for values in (errors.time, errors.energy):
        shown = [100 * float(np.quantile(np.abs(values), q)) for q in (0.5, 0.95, 1.0)]
        cells.append(" / ".join(f"{v:.1f}" for v in shown))
        cells.append(f"{100 * (np.abs(values) <= GOOD).mean():.0f} %")
    worst = int(np.argmax(np.abs(errors.time)))
    place = ",".join(map(str, errors.places[worst]))
    return [*cells, f"({place}) at {errors.rate_hz[worst]:.1f}/s"]


def training_s(world: SimConfig) -> float:
    """Processor time of training the default policy for some steps, s."""
    began_s = time.process_time()
    train("advised", world, 0, total_timesteps=TRAINED_STEPS)
    return time.process_time() - began_s


def plot(path: Path, costs: dict[str, tuple[float, float]]) -> None:
    """Draw by how much the oracle costs more under caps, device by device.

    The cost itself is in units of each device's own inference and compares no two of them.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  # slow to import

    more = {name: 100.0 * (capped / pinned - 1.0) for name, (pinned, capped) in costs.items()}
    names = sorted(more, key=lambda name: more[name])
    figure = Figure(figsize=(7, 0.9 + 0.27 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.barh(names, [more[name] for name in names], 0.7, color=BLUE)
    axes.bar_label(shown, fmt="%+.1f %%", padding=3)
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_xlabel("cost of capped, governed clocks over pinned ones, %, with the oracle")
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


PAGE = """# Pinned and capped clocks

Made by `{call}`. All boards are modelled; {n} held-out episodes of all scenarios with {model}.

`pin` holds every clock at what was asked for. `cap` lowers the upper limit alone, and the
governor of the device's kernel moves the clock below it: `schedutil` with its load tracking for
the CPU, the Jetsons' `nvhost_podgov` for the GPU, with the memory in proportion to it. Which
device has which, and what of that is assumed, stands in `hw/devices/*.toml`. Sub-steps of 1 ms
are the reference; episodes take what those come to from a table over caps, routes, request rates,
their irregularity, and other work.

{verdict}

## Cost

Cost of the best fixed action and of the oracle under either hold; energy per request and share in
time of the oracle.

{costs}

![what caps cost](holds.png)

A governor that is let alone makes a board about as busy as its target: 80 % of the time for the
CPU, 70 % for the GPU. Whatever the cap, a request then takes most of the time until the next one
comes, and irregular ones wait for each other.

## The table against sub-steps

Relative errors in % (median / 95th percentile / largest) of {n_cases} random caps, routes and
rates (2 to 15 requests a second) that are not in the grid, and the share of them within 2 %.
Beside the largest: caps and route, and the rate.

{errors}

{training}
## Made on

{machine}
"""


def make(devices: Sequence[str], out: Path, call: str, *, trains: bool) -> str:
    """Measure everything; returns the page."""
    costs, errors = [], []
    drawn: dict[str, tuple[float, float]] = {}
    training = ""
    for device in devices:
        pinned = build_sim_config(device, MODEL)
        table = open_table(pinned.device, pinned.costs.head)
        capped = replace(pinned, governed=table)
        results = judged(pinned), judged(capped)
        costs.append(cost_line(device, *results))
        print(costs[-1], flush=True)
        pin, cap = (float(result.oracle.cost.mean()) for result in results)
        drawn[device] = pin, cap
        for scv, load in CASES:
            found = table_errors(
                pinned.device, pinned.costs.head, table, N_CASES, scv=scv, load=load
            )
            errors.append(error_line(device, scv, load, found))
            print(errors[-1], flush=True)
        if trains and device == devices[0]:
            seconds = [training_s(world) for world in (pinned, capped)]
            training = TRAINING.format(
                steps=TRAINED_STEPS, device=device, ratio=seconds[1] / seconds[0], pair=seconds
            )
            print(training, flush=True)
    plot(out.with_suffix(".png"), drawn)
    n_pin = sum(pin < cap for pin, cap in drawn.values())
    return PAGE.format(
        call=call,
        n=N_JUDGED,
        model=MODEL,
        verdict=f"**Pinning costs less on {n_pin} of {len(drawn)} devices**, with the oracle, "
        "which decides best under either hold. It is the default of `train.py`, and `deploy.py` "
        "holds clocks as the policy was trained.",
        costs=markdown([COST_HEAD, *costs]),
        errors=markdown([ERROR_HEAD, *errors]),
        n_cases=N_CASES,
        training=training,
        machine=machine(),
    )


TRAINING = """## Training

{steps:,} steps of `advised` on {device}: {pair[0]:.0f} s of processor time pinned, {pair[1]:.0f} s
capped, {ratio:.2f} times as much.

"""
COST_HEAD = [
    "device",
    *(f"{who}, {hold}" for who in ("best fixed", "oracle") for hold in ("pin", "cap")),
    "oracle, pin",
    "oracle, cap",
    "cheaper",
]
ERROR_HEAD = [
    "device",
    "requests",
    "other work",
    "time, %",
    "within 2 %",
    "energy, %",
    "within 2 %",
    "largest of time",
]


def write_tables(devices: Sequence[str]) -> int:
    """Write the tables that come with the package."""
    TABLES.mkdir(exist_ok=True)
    for device in devices:
        world = build_sim_config(device, MODEL)
        table = GovernedTable.make(world.device, world.costs.head)
        keep(table, TABLES / f"{table.made_of}.npz")
        print(f"{device}: {table.made_of}.npz", flush=True)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; user errors end in one sentence and exit code 2."""
    parser = argparse.ArgumentParser("python -m benchmarks.holds", description=__doc__)
    parser.add_argument("--devices", nargs="+", default=list(device_names()), help="(all)")
    parser.add_argument("--out", type=Path, default=Path("results/holds.md"), help="page")
    parser.add_argument("--training", action="store_true", help="time a training, too")
    parser.add_argument("--tables", action="store_true", help="write tables, not the page")
    arguments = parser.parse_args(argv)
    set_threads()
    if arguments.tables:
        return write_tables(arguments.devices)
    call = " ".join(["python -m benchmarks.holds", *(sys.argv[1:] if argv is None else argv)])
    return write_page(
        lambda: make(arguments.devices, arguments.out, call, trains=arguments.training),
        arguments.out,
    )


if __name__ == "__main__":
    sys.exit(command.run(main))

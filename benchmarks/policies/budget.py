"""What training adds to advice, and how much is enough: `python -m benchmarks.policies.budget`.

Writes `budget.md` and `budget.png`: the share of the gap between best-static and the oracle that
`advised` closes after so many control steps, beside the processor time of the training, and by how
much its cost falls in each scenario. Without any it is `advice`, its corrections at zero. A run
that was cut goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from agents.errors import AgentError
from agents.evaluation.palette import GRID, INK, LEARNED, MUTED
from agents.evaluation.plots import save
from agents.evaluation.rows import ALL
from agents.evaluation.statistics import Interval
from agents.training.algorithms import ALGORITHMS
from agents.training.run import open_or_prepare
from benchmarks.page import machine, markdown, write_page
from benchmarks.policies import plan
from benchmarks.policies.compared import BUDGET
from benchmarks.policies.run import MeasuredDecider, run_jobs
from benchmarks.policies.table import ORACLE, STATIC, Samples, gap_closed, ratio
from common import command
from partition.cli import positive

UNTRAINED = f"{plan.OURS}{BUDGET}0"
SHARES = (1 / 64, 1 / 16, 1 / 4, 1 / 2, 1.0, 2.0)
"""Of the steps that `advised` takes by itself."""
N_SEEDS, N_EPISODES = 5, 8
FITS = Path("results/runs/budget")


def budgets() -> tuple[int, ...]:
    """Control steps of the trainings."""
    return tuple(round(share * ALGORITHMS[plan.OURS].total_timesteps) for share in SHARES)


def trained(steps: int) -> str:
    """Name of the decider that has learned for so many steps."""
    return f"{plan.OURS}{BUDGET}{steps}"


def jobs(n_seeds: int) -> list[plan.BenchmarkJob]:
    """Every budget once for each seed, and what gaps are measured by."""
    case = plan.Case(
        device=plan.VALIDATED_DEVICE,
        model=plan.NETWORK,
        deciders=(ORACLE, STATIC, UNTRAINED, *map(trained, budgets())),
        n_seeds=n_seeds,
        n_episodes=N_EPISODES,
    )
    return plan.jobs([case])


def page(results: Sequence[MeasuredDecider], out: Path) -> str:
    """Write the tables, and the picture beside them.

    Args:
        results: of `jobs`; trainings may lack some seeds.
        out: file of the picture.

    Raises:
        AgentError: there is no seed that everybody has finished.
    """
    names = [UNTRAINED, *map(trained, budgets())]
    there = {result.job.decider for result in results}
    samples = Samples(results) if there >= {ORACLE, STATIC, *names} else None
    if samples is None or not samples.seeds:
        raise AgentError("no seed of every budget is finished: run the command on")
    cpu_s = {name: _cpu_s(results, name, samples.seeds) for name in names}
    closed = {name: gap_closed(samples, name, ALL) for name in names}
    save(_figure([cpu_s[name] for name in names], [closed[name] for name in names]), out)
    whole = trained(ALGORITHMS[plan.OURS].total_timesteps)
    lines = [
        [
            "none" if name == UNTRAINED else f"{int(name.partition(BUDGET)[2]):,}",
            _per_cent(closed[name]),
            _change(ratio(samples, "cost", name, UNTRAINED, ALL)),
            _change(ratio(samples, "cost", name, ORACLE, ALL)),
            f"{cpu_s[name]:.0f}",
        ]
        for name in names
    ]
    where = sorted(
        samples.groups[ALL], key=lambda s: ratio(samples, "cost", whole, UNTRAINED, s).mean
    )
    each = [
        [s, *(_change(ratio(samples, "cost", whole, other, s)) for other in (UNTRAINED, ORACLE))]
        for s in where
    ]
    return f"""# What training adds to advice

    python -m benchmarks.policies.budget

`{plan.OURS}` weighs actions by the nominal model's expectation and learns corrections of it;
untrained, all corrections are zero. Both have one list of actions to weigh for all scenarios. {
        len(samples.seeds)
    } seeds,
{N_EPISODES} held-out episodes of each in all scenarios, 95 % bootstrap intervals; modelled:
{plan.VALIDATED_DEVICE} with {plan.NETWORK}. 100 % of the gap is the oracle's cost, 0 % that of the
best fixed setting of each scenario. Processor time is of one training, its validations included.

{
        markdown(
            [
                [
                    "control steps",
                    "gap closed %",
                    "cost beside untrained",
                    "above the oracle's",
                    "processor s",
                ],
                *lines,
            ]
        )
    }

![gap closed over processor time](budget.png)

Scenario by scenario, after {ALGORITHMS[plan.OURS].total_timesteps:,} steps, where training helps
most first:

{markdown([["scenario", "cost beside untrained", "above the oracle's"], *each])}

## Made on

{machine()}
"""


def _cpu_s(results: Sequence[MeasuredDecider], name: str, seeds: Sequence[int]) -> float:
    """Processor time of a training, median over seeds."""
    mine = [r for r in results if r.job.decider == name and set(r.job.episode_seeds) & set(seeds)]
    return float(np.median([result.fit_cpu_s for result in mine]))


def _figure(cpu_s: Sequence[float], closed: Sequence[Interval]) -> Figure:
    """Gap closed over processor time."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    panel = figure.subplots()
    means, lows, highs = (
        100.0 * np.array([getattr(each, end) for each in closed]) for end in ("mean", "low", "high")
    )
    panel.fill_between(cpu_s, lows, highs, color=LEARNED, alpha=0.2, linewidth=0)
    panel.plot(cpu_s, means, color=LEARNED, marker="o", markersize=4)
    panel.annotate(
        "untrained", (cpu_s[0], means[0]), xytext=(6, -12), textcoords="offset points", color=MUTED
    )
    panel.set_xscale("symlog", linthresh=10.0)
    panel.set_xlabel("processor time of a training, s", color=INK)
    panel.set_ylabel("gap to the oracle closed, %", color=INK)
    panel.grid(color=GRID, linewidth=0.8)
    return figure


def _per_cent(share: Interval) -> str:
    return f"{100 * share.mean:.1f} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def _change(share: Interval) -> str:
    mean, low, high = (100 * (value - 1.0) for value in (share.mean, share.low, share.high))
    return f"{mean:+.2f} % ({low:+.2f} to {high:+.2f})"


def main(argv: Sequence[str] | None = None) -> int:
    """Train, run and write; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies.budget", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (%(default)s)")
    parser.add_argument("--seeds", type=positive, default=N_SEEDS, help="of each (%(default)s)")
    parser.add_argument("--processes", type=positive, default=1, help="jobs at once (%(default)s)")
    arguments = parser.parse_args(argv)

    def make() -> str:
        open_or_prepare(plan.NETWORK)
        report = partial(print, file=sys.stderr, flush=True)
        found = run_jobs(jobs(arguments.seeds), FITS, (), arguments.processes, report)
        return page(found, arguments.out / "budget.png")

    return write_page(make, arguments.out / "budget.md")


if __name__ == "__main__":
    sys.exit(command.run(main, "the same command goes on after the last finished training"))

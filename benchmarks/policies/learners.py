"""Learners as they ship, out of the box: `python -m benchmarks.policies.learners`.

Writes `learners.md`: what share of the gap between best-static and the oracle Stable-Baselines3's
PPO and SAC close with the settings that stand in `agents/learners/`, seed by seed, and the
processor time of each training. A run that was cut goes on where it was; a changed program begins
again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from agents.errors import AgentError
from agents.evaluation.rows import ALL
from agents.evaluation.statistics import Interval
from agents.training.run import open_or_prepare
from benchmarks.page import machine, markdown, write_page
from benchmarks.policies import plan
from benchmarks.policies.run import MeasuredDecider, run_jobs
from benchmarks.policies.table import ORACLE, STATIC, Samples, gap_closed
from common import command
from partition.cli import positive

ASKED_FOR = {"ppo": 0.88, "sac": 0.80}
"""Share of the gap that each should close."""
LONGEST_S = 600.0
"""Processor time that a training may take."""
N_SEEDS, N_EPISODES = 5, 12
FITS = Path("results/runs/learners")


def jobs(n_seeds: int) -> list[plan.BenchmarkJob]:
    """Each learner once for each seed, and what gaps are measured by."""
    case = plan.Case(
        device=plan.VALIDATED_DEVICE,
        model=plan.NETWORK,
        deciders=(ORACLE, STATIC, *ASKED_FOR),
        n_seeds=n_seeds,
        n_episodes=N_EPISODES,
    )
    return plan.jobs([case])


def page(results: Sequence[MeasuredDecider]) -> str:
    """Write the tables.

    Args:
        results: of `jobs`; learners may lack some seeds.

    Raises:
        AgentError: there is no seed that everybody has finished.
    """
    by_decider = {
        name: {result.job.fit_seed: result for result in results if result.job.decider == name}
        for name in (ORACLE, STATIC, *ASKED_FOR)
    }
    samples = Samples(results) if all(by_decider.values()) else None
    if samples is None or not samples.seeds:
        raise AgentError("no seed of every learner is finished: run the command on")
    summary = [["learner", "gap closed %", "asked for", "", "cost above the oracle's %"]]
    for name, bar in ASKED_FOR.items():
        closed = gap_closed(samples, name, ALL)
        above = samples.mean(name, ALL, "cost") / samples.mean(ORACLE, ALL, "cost") - 1.0
        met = "met" if closed.mean >= bar else "missed"
        summary.append([name, _text(closed), f"{100 * bar:.0f}", met, f"{100 * above:.1f}"])
    each = [["learner", "seed", "gap closed %", "steps", "processor s"]]
    for name in ASKED_FOR:
        for seed in samples.seeds:
            result = by_decider[name][seed]
            each.append(
                [
                    *(name, str(seed), f"{100 * _closed(by_decider, name, seed):.1f}"),
                    *(f"{result.fit_steps:,}", f"{result.fit_cpu_s:.0f}"),
                ]
            )
    longest_s = max(r.fit_cpu_s for name in ASKED_FOR for r in by_decider[name].values())
    within = "all within" if longest_s <= LONGEST_S else "not all within"
    return f"""# PPO and SAC as they ship

    python -m benchmarks.policies.learners

`train.py --algo ppo` and `--algo sac` with nothing else, {len(samples.seeds)} seeds each,
judged on {N_EPISODES} held-out episodes per seed in every scenario; modelled:
{plan.VALIDATED_DEVICE} with {plan.NETWORK}. 100 % is the oracle's cost, 0 % that of the best fixed
setting of each scenario. Intervals are 95 %, by bootstrap over seeds and episodes. Processor time
is of one training, its validations included: {within} {LONGEST_S:.0f} s.

{markdown(summary)}

{markdown(each)}

Machine:

{machine()}
"""


def _closed(found: Mapping[str, Mapping[int, MeasuredDecider]], name: str, seed: int) -> float:
    """Share of the gap on one seed's episodes, over all scenarios."""
    static, here, oracle = (
        float(
            np.mean(
                [
                    np.array(scenario["cost"][result.job.episode_seeds.index(seed)], np.float64)
                    for result in found[each].values()
                    if seed in result.job.episode_seeds
                    for scenario in result.episodes.values()
                ]
            )
        )
        for each in (STATIC, name, ORACLE)
    )
    return (static - here) / (static - oracle)


def _text(share: Interval) -> str:
    return f"{100 * share.mean:.1f} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def main(argv: Sequence[str] | None = None) -> int:
    """Train, run and write; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies.learners", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (%(default)s)")
    parser.add_argument("--seeds", type=positive, default=N_SEEDS, help="of each (%(default)s)")
    parser.add_argument("--processes", type=positive, default=1, help="jobs at once (%(default)s)")
    arguments = parser.parse_args(argv)

    def make() -> str:
        open_or_prepare(plan.NETWORK)
        report = partial(print, file=sys.stderr, flush=True)
        return page(run_jobs(jobs(arguments.seeds), FITS, (), arguments.processes, report))

    return write_page(make, arguments.out / "learners.md")


if __name__ == "__main__":
    sys.exit(command.run(main, "the same command goes on after the last finished training"))

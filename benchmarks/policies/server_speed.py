"""Servers that are slower or faster than usual: `python -m benchmarks.policies.server_speed`.

Writes `server-speed.md`. Everybody's server differs from the one that the scenarios take for usual,
and no decider is told: what its replies show has to be enough. A run that was cut goes on where it
was; a changed program begins again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from agents.errors import AgentError
from agents.evaluation.rows import ALL
from agents.evaluation.statistics import Interval
from agents.training.run import open_or_prepare
from agents.training.workers import n_cores
from benchmarks.page import machine, markdown, write_page
from benchmarks.policies import plan
from benchmarks.policies.compared import REFITTED
from benchmarks.policies.run import MeasuredDecider, run_jobs
from benchmarks.policies.table import ORACLE, STATIC, Samples, ratio
from benchmarks.policies.verdict import SEARCH
from common import command
from partition.cli import positive

FACTORS = (0.1, 0.2, 0.5, 1.0, 5.0, 10.0)
"""On the speed of the usual server; those of training lie within the first and the last."""
ASKED_FOR = (0.2, 5.0)
"""Factors that bars are set for."""
LARGEST_GAP = 0.03
"""To the oracle, over all scenarios."""
FIXED = (STATIC, REFITTED)
N_SEEDS, N_EPISODES = 3, 4
FITS = Path("results/runs/server-speed")


def jobs(n_seeds: int) -> list[plan.BenchmarkJob]:
    """Each decider once for each seed, run with every server."""
    case = plan.Case(
        device=plan.VALIDATED_DEVICE,
        model=plan.NETWORK,
        deciders=(ORACLE, plan.OURS, SEARCH, *FIXED),
        n_seeds=n_seeds,
        n_episodes=N_EPISODES,
        server_factors=FACTORS,
    )
    return plan.jobs([case])


def page(results: Sequence[MeasuredDecider]) -> str:
    """Write the tables.

    Args:
        results: of `jobs`; some seeds may be missing.

    Raises:
        AgentError: there is no seed that everybody has finished.
    """
    deciders = (plan.OURS, SEARCH, *FIXED)
    there = {result.job.decider for result in results}
    samples = Samples(results) if there >= {ORACLE, *deciders} else None
    if samples is None or not samples.seeds:
        raise AgentError("no seed of every decider is finished: run the command on")
    gaps = [
        [f"{factor:g} x", *(_text(_gap(samples, name, _group(factor))) for name in deciders)]
        for factor in FACTORS
    ]
    return f"""# Servers of other speeds

    python -m benchmarks.policies.server_speed

Cost above the oracle's in per cent over all scenarios, with 95 % bootstrap intervals over
{len(samples.seeds)} seeds and {N_EPISODES} held-out episodes of each; modelled:
{plan.VALIDATED_DEVICE} with {plan.NETWORK}. The server is so many times as fast as the scenarios
take for usual. Nobody is told but the oracle and `{REFITTED}`, which is searched again with each
server; `{plan.OURS}` was trained once, with servers from a tenth to ten times the usual speed, and
`{SEARCH}` and `{STATIC}` were fitted to the usual ones. All but the oracle are fitted again for
each seed.

{markdown([["server", *deciders], *gaps])}

{markdown([("", "what", "bar", "found"), *_bars(samples)])}

Scenario by scenario, per cent above the oracle's:

{markdown(_each(samples))}

Machine:

{machine()}
"""


def _bars(samples: Samples) -> list[tuple[str, str, str, str]]:
    found = []
    for factor in ASKED_FOR:
        gap = _gap(samples, plan.OURS, _group(factor))
        found.append(
            (
                _met(gap.mean <= LARGEST_GAP),
                f"cost of `{plan.OURS}` above the oracle's, server {factor:g} x",
                f"<= {100 * LARGEST_GAP:g} %",
                _text(gap),
            )
        )
        worse = {
            name
            for name in samples.groups[ALL]
            for fixed in FIXED
            if ratio(samples, "cost", plan.OURS, fixed, _where(factor, name)).low > 1.0
        }
        found.append(
            (
                _met(not worse),
                f"scenarios where `{plan.OURS}` is worse than a fixed setting, server {factor:g} x",
                "none outside the interval",
                ", ".join(sorted(worse)) or "none",
            )
        )
    for factor in FACTORS:
        for fixed in FIXED:
            more = ratio(samples, "cost", plan.OURS, fixed, _group(factor))
            found.append(
                (
                    _met(more.mean <= 1.0),
                    f"cost of `{plan.OURS}` beside `{fixed}`'s, server {factor:g} x",
                    "<= 0 %",
                    _text(_minus_one(more)),
                )
            )
    return found


def _each(samples: Samples) -> list[tuple[str, ...]]:
    """Ours next to the better fixed setting, in each scenario."""
    lines = [("scenario", *(f"{factor:g} x: ours, fixed" for factor in FACTORS))]
    for name in samples.groups[ALL]:
        cells = []
        for factor in FACTORS:
            where = _where(factor, name)
            ours = _gap(samples, plan.OURS, where).mean
            fixed = min(_gap(samples, decider, where).mean for decider in FIXED)
            cells.append(f"{100 * ours:.1f}, {100 * fixed:.1f}")
        lines.append((name, *cells))
    return lines


def _group(factor: float) -> str:
    """Name of the mean over all scenarios with such servers."""
    return ALL if factor == 1.0 else f"{factor:g}"


def _where(factor: float, scenario: str) -> str:
    return scenario if factor == 1.0 else f"{_group(factor)}@{scenario}"


def _gap(samples: Samples, decider: str, where: str) -> Interval:
    return _minus_one(ratio(samples, "cost", decider, ORACLE, where))


def _minus_one(share: Interval) -> Interval:
    return Interval(share.mean - 1.0, share.low - 1.0, share.high - 1.0)


def _met(is_met: bool) -> str:
    return "met" if is_met else "missed"


def _text(share: Interval) -> str:
    return f"{100 * share.mean:.1f} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, run and write; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies.server_speed",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (%(default)s)")
    parser.add_argument("--seeds", type=positive, default=N_SEEDS, help="of each (%(default)s)")
    parser.add_argument(
        "--processes", type=positive, default=n_cores(), help="jobs at once (%(default)s)"
    )
    arguments = parser.parse_args(argv)

    def make() -> str:
        open_or_prepare(plan.NETWORK)
        report = partial(print, file=sys.stderr, flush=True)
        return page(run_jobs(jobs(arguments.seeds), FITS, (), arguments.processes, report))

    return write_page(make, arguments.out / "server-speed.md")


if __name__ == "__main__":
    sys.exit(command.run(main, "the same command goes on after the last finished job"))

"""Evaluation of a policy on held-out episodes, next to baselines and the per-state optimum."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np

from agents.deciders.base import Decider
from agents.evaluation.episodes import Episodes, run_episodes
from agents.evaluation.rows import ALL, SMALLEST_GAP, EvaluationRow
from agents.evaluation.statistics import Bootstrap, Interval
from agents.registry import UNLEARNED
from agents.seeds import N_HELD_OUT, held_out_seeds
from envs.arrays import Floats
from envs.sim.sim_config import SimConfig

STATIC, OVERALL = "best-static", "best-static-overall"
"""The best setting of each scenario, to measure gaps by, and the one for all of them together,
which is what `--algo best-static` saves."""
RIVALS = ("oracle", STATIC, "governor", "max-edge", "max-cloud", "random")


def rivals(world: SimConfig, seed: int) -> dict[str, Decider]:
    """Build every baseline for one scenario; the search for the static one takes a few seconds."""
    return {name: UNLEARNED.fit(name, world, seed).decider for name in RIVALS}


Runs = dict[str, Episodes]
"""Everybody's episodes in one scenario."""


def run_rivals(world: SimConfig, seed: int, n_episodes: int = N_HELD_OUT) -> Runs:
    """Fit the baselines to a world of one scenario, and run them on its held-out episodes."""
    seeds = held_out_seeds(seed, n_episodes)
    return {name: run_episodes(world, rival, seeds) for name, rival in rivals(world, seed).items()}


def one_by_one(world: SimConfig) -> list[SimConfig]:
    """A world for each scenario."""
    return [replace(world, scenarios=(scenario,)) for scenario in world.scenarios]


def evaluate(
    world: SimConfig,
    policies: Mapping[str, Decider],
    seed: int,
    *,
    n_episodes: int = N_HELD_OUT,
    beside: Sequence[Future[Runs]] = (),
    report: Callable[[str], None] = lambda _: None,
) -> list[EvaluationRow]:
    """Compare policies with all baselines, in each scenario and over all of them.

    A policy that has the name of a baseline takes its place among the rows, not as what gaps are
    measured by.

    Args:
        world: whose scenarios are taken one by one.
        policies: by name.
        seed: draws the held-out episodes.
        n_episodes: per scenario.
        beside: `run_rivals` of each scenario with the same seed and episodes, where it has been
            begun already.
        report: called with a line of progress.
    """
    seeds = held_out_seeds(seed, n_episodes)
    singles = one_by_one(world)
    judged = dict(policies)
    if len(singles) > 1:
        judged[OVERALL] = UNLEARNED.fit(STATIC, world, seed).decider
    baselines: list[Runs] = []
    runs: list[Runs] = []
    for n, single in enumerate(singles):
        report(f"evaluating in {single.scenarios[0].name}")
        theirs = {key: run_episodes(single, decider, seeds) for key, decider in judged.items()}
        baselines.append(beside[n].result() if beside else run_rivals(single, seed, n_episodes))
        runs.append(_in_order(theirs, baselines[-1]))
    names = [single.scenarios[0].name for single in singles]
    if len(singles) > 1:
        names.append(ALL)
        baselines.append(_pool(baselines))
        runs.append(_pool(runs))
    compared = zip(names, runs, baselines, strict=True)
    return [row for name, run, baseline in compared for row in _rows(name, run, baseline)]


def _in_order(policies: Runs, baselines: Runs) -> Runs:
    """Policies first, then baselines; what is named alike is the policy."""
    return policies | {name: run for name, run in baselines.items() if name not in policies}


def write_csv(rows: list[EvaluationRow], path: Path) -> None:
    """Write `evaluation.csv`."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [f.name for f in fields(EvaluationRow)])
        writer.writeheader()
        for row in rows:
            writer.writerow({k: _short(v) for k, v in asdict(row).items()})


def _short(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _pool(per_scenario: list[Runs]) -> Runs:
    """Put the episodes of all scenarios side by side."""
    return {
        name: Episodes(
            *(
                np.concatenate([getattr(scenario[name], f.name) for scenario in per_scenario], -1)
                for f in fields(Episodes)
            )
        )
        for name in per_scenario[0]
    }


def _rows(scenario: str, runs: Runs, baselines: Runs) -> list[EvaluationRow]:
    oracle, static = baselines["oracle"].cost, baselines[STATIC].cost
    bootstrap = Bootstrap(len(oracle))
    return [_row(scenario, name, run, oracle, static, bootstrap) for name, run in runs.items()]


def _row(
    scenario: str,
    policy: str,
    run: Episodes,
    oracle: Floats,
    static: Floats,
    bootstrap: Bootstrap,
) -> EvaluationRow:
    energy, latency, qos, cost = (
        bootstrap.mean(values)
        for values in (run.energy_j, run.latency_s, run.deadline_hit_rate, run.cost)
    )
    way = Interval(math.nan, math.nan, math.nan)
    if static.mean() > (1.0 + SMALLEST_GAP) * oracle.mean():
        way = bootstrap.gap_closed(static, run.cost, oracle)
    return EvaluationRow(
        scenario=scenario,
        policy=policy,
        energy_j=energy.mean,
        energy_j_low=energy.low,
        energy_j_high=energy.high,
        latency_s=latency.mean,
        latency_s_low=latency.low,
        latency_s_high=latency.high,
        p95_latency_s=run.p95_latency_s(),
        deadline_hit_rate=qos.mean,
        deadline_hit_rate_low=qos.low,
        deadline_hit_rate_high=qos.high,
        accuracy=float(run.accuracy.mean()),
        cost=cost.mean,
        cost_low=cost.low,
        cost_high=cost.high,
        oracle_gap=cost.mean / float(oracle.mean()) - 1.0,
        gap_closed=way.mean,
        gap_closed_low=way.low,
        gap_closed_high=way.high,
    )

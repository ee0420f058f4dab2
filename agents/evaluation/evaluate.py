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

RIVALS = ("oracle", "best-static", "governor", "max-edge", "max-cloud", "random")


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
    learned: Mapping[str, Decider],
    seed: int,
    *,
    n_episodes: int = N_HELD_OUT,
    beside: Sequence[Future[Runs]] = (),
    report: Callable[[str], None] = lambda _: None,
) -> list[EvaluationRow]:
    """Compare learned policies with all baselines, in each scenario and over all of them.

    Args:
        world: whose scenarios are taken one by one.
        learned: policies by name.
        seed: draws the held-out episodes.
        n_episodes: per scenario.
        beside: `run_rivals` of each scenario with the same seed and episodes, where it has been
            begun already.
        report: called with a line of progress.
    """
    seeds = held_out_seeds(seed, n_episodes)
    results: dict[str, Runs] = {}
    for n, single in enumerate(one_by_one(world)):
        name = single.scenarios[0].name
        report(f"evaluating in {name}")
        mine = {key: run_episodes(single, decider, seeds) for key, decider in learned.items()}
        others = beside[n].result() if beside else run_rivals(single, seed, n_episodes)
        results[name] = mine | others
    rows = [row for name, runs in results.items() for row in _rows(name, runs)]
    if len(results) > 1:
        rows += _rows(ALL, _pool(list(results.values())))
    return rows


def write_csv(rows: list[EvaluationRow], path: Path) -> None:
    """Write `evaluation.csv`."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [f.name for f in fields(EvaluationRow)])
        writer.writeheader()
        for row in rows:
            writer.writerow({k: _short(v) for k, v in asdict(row).items()})


def _short(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _pool(per_scenario: list[dict[str, Episodes]]) -> dict[str, Episodes]:
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


def _rows(scenario: str, runs: dict[str, Episodes]) -> list[EvaluationRow]:
    oracle, static = runs["oracle"].cost, runs["best-static"].cost
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

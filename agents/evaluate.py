"""Judge a policy on held-out episodes, beside its rivals and the per-state optimum."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.deciders.base import Decider
from agents.deciders.registry import fit
from agents.seeds import N_HELD_OUT, held_out_seeds
from agents.statistics import Bootstrap, Interval, weighted_quantile
from envs.fleet import Fleet, World
from envs.signals import Floats
from envs.spaces import ObservationEncoder, observation_fields

ALL = "all"
SHORTEST_WAY = 0.05
QUANTILES = tuple((i + 0.5) / 20 for i in range(20))
"""At which the latencies of a step stand for all its requests."""
RIVALS = ("oracle", "best-static", "governor", "max-edge", "max-cloud", "random")


@dataclass(frozen=True, slots=True)
class Episodes:
    """Results of a policy, one value per held-out episode, arrays of shape (n,).

    Attributes:
        energy_j: energy per request.
        latency_s: mean latency of a request.
        qos_met: share of requests in time.
        accuracy: mean agreement with the unsplit network.
        cost: mean cost per step.
        steps_s: latency of each step at `QUANTILES`, shape (n_quantiles, n_steps, n).
        requests: requests answered in each step, shape (n_steps, n).
    """

    energy_j: Floats
    latency_s: Floats
    qos_met: Floats
    accuracy: Floats
    cost: Floats
    steps_s: Floats
    requests: Floats

    def part(self, which: slice) -> Episodes:
        """Some of the episodes."""
        return Episodes(*(getattr(self, f.name)[..., which] for f in fields(self)))

    def p95_latency_s(self) -> float:
        """95th percentile over all requests of all episodes."""
        weights = np.broadcast_to(self.requests, self.steps_s.shape)
        return weighted_quantile(self.steps_s.ravel(), weights.ravel(), 0.95)


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """One line of `evaluation.csv`: a policy in a scenario, with 95 % bootstrap intervals.

    `oracle_gap` is cost over the oracle's cost, minus one; `share_of_way` is how much of the way
    from `best-static` to the oracle the policy goes, not a number where that way is shorter than
    `SHORTEST_WAY` of the oracle's cost.
    """

    scenario: str
    policy: str
    energy_j: float
    energy_j_low: float
    energy_j_high: float
    latency_s: float
    latency_s_low: float
    latency_s_high: float
    p95_latency_s: float
    qos_met: float
    qos_met_low: float
    qos_met_high: float
    accuracy: float
    cost: float
    cost_low: float
    cost_high: float
    oracle_gap: float
    share_of_way: float
    share_of_way_low: float
    share_of_way_high: float


def rivals(world: World, seed: int) -> dict[str, Decider]:
    """Build every rival for one scenario; the search for the static one takes a few seconds."""
    return {name: fit(name, world, seed).decider for name in RIVALS}


def run_episodes(world: World, decider: Decider, seeds: NDArray[np.uint64]) -> Episodes:
    """Run one episode per seed."""
    fleet, objective = Fleet(world, len(seeds)), world.objective()
    encoder = ObservationEncoder(observation_fields(fleet.layout))
    readings = fleet.reset(seeds)
    decider.begin(fleet, fleet.n)
    record: dict[str, list[Floats]] = {
        key: [] for key in ("power_w", "requests", "latency_s", "in_time", "accuracy", "cost")
    }
    steps_s = []
    for _ in range(world.n_steps):
        eta = readings.eta
        outcome = fleet.step(decider.decide(encoder.encode(readings)))
        readings = fleet.readings()
        for key, values in record.items():
            value = objective.cost(outcome, eta) if key == "cost" else getattr(outcome, key)
            values.append(value)
        steps_s.append([outcome.latency_quantile_s(share) for share in QUANTILES])
    series = {key: np.stack(values) for key, values in record.items()}
    requests = series["requests"]
    total = requests.sum(axis=0)

    def per_request(key: str) -> Floats:
        weighted: Floats = (series[key] * requests).sum(axis=0) / total
        return weighted

    return Episodes(
        energy_j=series["power_w"].sum(axis=0) * world.step_s / total,
        latency_s=per_request("latency_s"),
        qos_met=per_request("in_time"),
        accuracy=per_request("accuracy"),
        cost=series["cost"].mean(axis=0),
        steps_s=np.array(steps_s).swapaxes(0, 1),
        requests=requests,
    )


Runs = dict[str, Episodes]
"""Everybody's episodes in one scenario."""


def run_rivals(world: World, seed: int, n_episodes: int = N_HELD_OUT) -> Runs:
    """Fit the rivals to a world of one scenario, and run them on its held-out episodes."""
    seeds = held_out_seeds(seed, n_episodes)
    return {name: run_episodes(world, rival, seeds) for name, rival in rivals(world, seed).items()}


def one_by_one(world: World) -> list[World]:
    """A world for each scenario."""
    return [replace(world, scenarios=(scenario,)) for scenario in world.scenarios]


def evaluate(
    world: World,
    learned: Mapping[str, Decider],
    seed: int,
    *,
    n_episodes: int = N_HELD_OUT,
    beside: Sequence[Future[Runs]] = (),
    report: Callable[[str], None] = lambda _: None,
) -> list[EvaluationRow]:
    """Compare learned policies with all rivals, in each scenario and over all of them.

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
        bootstrap.mean(values) for values in (run.energy_j, run.latency_s, run.qos_met, run.cost)
    )
    way = Interval(math.nan, math.nan, math.nan)
    if static.mean() > (1.0 + SHORTEST_WAY) * oracle.mean():
        way = bootstrap.share_of_way(static, run.cost, oracle)
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
        qos_met=qos.mean,
        qos_met_low=qos.low,
        qos_met_high=qos.high,
        accuracy=float(run.accuracy.mean()),
        cost=cost.mean,
        cost_low=cost.low,
        cost_high=cost.high,
        oracle_gap=cost.mean / float(oracle.mean()) - 1.0,
        share_of_way=way.mean,
        share_of_way_low=way.low,
        share_of_way_high=way.high,
    )

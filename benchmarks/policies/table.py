"""Rows with intervals, paired between deciders, from the episodes of all jobs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.latencies import Latencies
from agents.evaluation.rows import ALL
from agents.evaluation.statistics import Interval, interval
from benchmarks.policies.run import PER_EPISODE, MeasuredDecider
from benchmarks.policies.traces import group
from envs.arrays import Floats

ORACLE, STATIC = "oracle", "best-static"
SMALLEST_GAP = 0.05
"""Of the oracle's cost; where best-static is nearer than this, the share says nothing."""
N_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class TableRow:
    """A decider in a scenario, or over all of them; modelled.

    Attributes:
        energy_j: energy of the board per inference.
        latency_s: mean from a request's arrival to its answer.
        pooled_p95_latency_s: 95th percentile of all requests that were answered, of all seeds
            together, and of all scenarios of a mean.
        deadline_hit_rate: share of requests within the latency target.
        accuracy: share of answers as the unsplit network's, or of right ones where that is known.
        cost: `envs.objective`.
        oracle_gap: cost over the oracle's, minus one.
        gap_closed: from best-static to the oracle, in cost; nan where the two are close.
        n_seeds: of the episodes, and of fitting where the decider is learned or searched.
    """

    device: str
    model: str
    scenario: str
    decider: str
    kind: str
    energy_j: Interval
    latency_s: Interval
    pooled_p95_latency_s: float
    deadline_hit_rate: Interval
    accuracy: Interval
    cost: Interval
    oracle_gap: Interval
    gap_closed: Interval
    n_seeds: int


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """How long a decider takes; means over seeds, of this machine."""

    device: str
    model: str
    decider: str
    kind: str
    decisions_per_s: float
    fit_s: float
    fit_steps: float


Key = tuple[str, str]
"""Device and network."""


class Samples:
    """Episodes of one device and network: value by seed and episode, and the same resampled.

    Seeds are drawn with replacement, then episodes within each, the same ones for every decider:
    differences between deciders are paired.

    Attributes:
        deciders: kind of each.
        scenarios: names, with those whose link or server is another.
        groups: scenarios that have a mean of their own, by its name; `ALL` are the shipped ones.
        seeds: that all deciders have finished.
        n_episodes: of each seed and scenario.
    """

    def __init__(self, results: Sequence[MeasuredDecider]) -> None:
        """Sort the results of one case; seeds that a decider has not finished are left out."""
        self.deciders = {r.job.decider: r.kind for r in results}
        self.scenarios = list(results[0].episodes)
        self.groups: dict[str, list[str]] = {}
        for name in self.scenarios:
            self.groups.setdefault(group(name), []).append(name)
        finished: dict[str, set[int]] = {name: set() for name in self.deciders}
        for r in results:
            finished[r.job.decider].update(r.job.episode_seeds)
        self.seeds = sorted(set.intersection(*finished.values()))
        self.n_episodes = results[0].job.n_episodes
        where = {
            (r.job.decider, seed): (r, k)
            for r in results
            for k, seed in enumerate(r.job.episode_seeds)
        }
        self._values = {
            (decider, scenario, metric): np.array(
                [
                    r.episodes[scenario][metric][k]
                    for r, k in (where[decider, s] for s in self.seeds)
                ],
                dtype=np.float64,
            )
            for decider in self.deciders
            for scenario in self.scenarios
            for metric in PER_EPISODE
        }
        self._latencies = {
            (decider, scenario): sum(
                (
                    Latencies.unpacked(r.latencies[scenario][k])
                    for r, k in (where[decider, s] for s in self.seeds)
                ),
                Latencies(),
            )
            for decider in self.deciders
            for scenario in self.scenarios
        }
        draw = np.random.default_rng(0)
        n_seeds = len(self.seeds)
        self._seeds: NDArray[np.int64] = draw.integers(n_seeds, size=(N_RESAMPLES, n_seeds, 1))
        shape = (N_RESAMPLES, n_seeds, self.n_episodes)
        self._episodes: NDArray[np.int64] = draw.integers(self.n_episodes, size=shape)
        self._resampled: dict[tuple[str, str, str], Floats] = {}

    def mean(self, decider: str, scenario: str, metric: str) -> float:
        """Over seeds and episodes, and over the scenarios of a group."""
        names = self.groups.get(scenario, [scenario])
        return float(np.mean([self._values[decider, name, metric].mean() for name in names]))

    def p95_latency_s(self, decider: str, scenario: str) -> float:
        """95th percentile of all requests together: of all seeds, and scenarios of a group."""
        names = self.groups.get(scenario, [scenario])
        pooled = sum((self._latencies[decider, name] for name in names), Latencies())
        return pooled.quantile_s(0.95)

    def resampled(self, decider: str, scenario: str, metric: str) -> Floats:
        """The mean of each resample, shape (N_RESAMPLES,)."""
        if scenario in self.groups:
            parts = [self.resampled(decider, name, metric) for name in self.groups[scenario]]
            return np.asarray(np.mean(parts, axis=0))
        key = (decider, scenario, metric)
        if key not in self._resampled:
            drawn = self._values[key][self._seeds, self._episodes]
            self._resampled[key] = np.asarray(drawn.mean(axis=(1, 2)))
        return self._resampled[key]


def by_case(results: Iterable[MeasuredDecider]) -> dict[Key, list[MeasuredDecider]]:
    """Results by device and network."""
    cases: dict[Key, list[MeasuredDecider]] = {}
    for result in results:
        cases.setdefault((result.job.device, result.job.model), []).append(result)
    return cases


def rows(key: Key, samples: Samples) -> list[TableRow]:
    """All rows of a device and network: each scenario, then each group; `ALL` if of several."""
    means = [name for name, members in samples.groups.items() if name != ALL or len(members) > 1]
    names = [*samples.scenarios, *means]
    return [_row(key, samples, decider, name) for name in names for decider in samples.deciders]


def over_all(main: Sequence[TableRow]) -> list[TableRow]:
    """The rows of one device and network over all its scenarios, the cheapest first."""
    scenario = ALL if any(row.scenario == ALL for row in main) else main[0].scenario
    return sorted((row for row in main if row.scenario == scenario), key=lambda row: row.cost.mean)


def gap_closed(samples: Samples, decider: str, scenario: str) -> Interval:
    """Fraction closed of the gap between best-static and the oracle, in cost."""
    static, here, oracle = (samples.mean(d, scenario, "cost") for d in (STATIC, decider, ORACLE))
    if static < (1.0 + SMALLEST_GAP) * oracle:
        return Interval(math.nan, math.nan, math.nan)
    a, b, c = (samples.resampled(d, scenario, "cost") for d in (STATIC, decider, ORACLE))
    return interval((static - here) / (static - oracle), (a - b) / (a - c))


def ratio(samples: Samples, metric: str, decider: str, other: str, scenario: str) -> Interval:
    """A metric of one decider over that of another, paired."""
    mean = samples.mean(decider, scenario, metric) / samples.mean(other, scenario, metric)
    resampled = samples.resampled(decider, scenario, metric) / samples.resampled(
        other, scenario, metric
    )
    return interval(mean, resampled)


def difference(samples: Samples, metric: str, decider: str, other: str, scenario: str) -> Interval:
    """A metric of one decider minus that of another, paired."""
    mean = samples.mean(decider, scenario, metric) - samples.mean(other, scenario, metric)
    resampled = samples.resampled(decider, scenario, metric) - samples.resampled(
        other, scenario, metric
    )
    return interval(mean, resampled)


def speed_rows(key: Key, results: Sequence[MeasuredDecider]) -> list[SpeedRow]:
    """Times of each decider."""
    found = []
    for decider in dict.fromkeys(r.job.decider for r in results):
        mine = [r for r in results if r.job.decider == decider]
        found.append(
            SpeedRow(
                *key,
                decider,
                mine[0].kind,
                float(np.mean([1.0 / r.decision_s if r.decision_s else math.nan for r in mine])),
                float(np.mean([r.fit_s for r in mine])),
                float(np.mean([r.fit_steps for r in mine])),
            )
        )
    return found


def _row(key: Key, samples: Samples, decider: str, scenario: str) -> TableRow:
    def metric(name: str) -> Interval:
        return interval(
            samples.mean(decider, scenario, name), samples.resampled(decider, scenario, name)
        )

    gap = ratio(samples, "cost", decider, ORACLE, scenario)
    return TableRow(
        *key,
        scenario,
        decider,
        samples.deciders[decider],
        metric("energy_j"),
        metric("latency_s"),
        samples.p95_latency_s(decider, scenario),
        metric("deadline_hit_rate"),
        metric("accuracy"),
        metric("cost"),
        Interval(gap.mean - 1.0, gap.low - 1.0, gap.high - 1.0),
        gap_closed(samples, decider, scenario),
        len(samples.seeds),
    )

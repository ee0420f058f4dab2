from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from agents.evaluation.latencies import Latencies
from agents.evaluation.rows import ALL
from benchmarks.policies.page import page
from benchmarks.policies.plan import OURS, BenchmarkJob
from benchmarks.policies.run import PER_EPISODE, MeasuredDecider
from benchmarks.policies.table import (
    Samples,
    by_case,
    difference,
    gap_closed,
    ratio,
    rows,
    speed_rows,
)
from benchmarks.policies.traces import FITTED_TO, HELD_OUT
from benchmarks.policies.verdict import bars, learning_against_searching, strongest_published

N_SEEDS, N_EPISODES = 4, 5
KEY = ("tx2", "net")


def measured(
    decider: str,
    seed: int,
    cost: float,
    spread: float = 0.1,
    changed: Mapping[str, float] = MappingProxyType({}),
    **means: float,
) -> MeasuredDecider:
    """Episodes whose luck is the same for every decider of a seed.

    Args:
        decider: name.
        seed: of the fit and the episodes.
        cost: mean in scenario a; that in b is twice as much.
        spread: of the luck.
        changed: how much more it is in scenarios with another link or server, by name.
        means: of other measures.
    """
    luck = np.random.default_rng(seed).normal(size=N_EPISODES)
    values = {
        "energy_j": 1.0,
        "latency_s": 0.05,
        "deadline_hit_rate": 0.9,
        "accuracy": 1.0,
        **means,
    }
    values["cost"] = cost
    job = BenchmarkJob(
        device="tx2",
        model="net",
        scenarios=("a",),
        decider=decider,
        fit_seed=seed,
        episode_seeds=(seed,),
        n_episodes=N_EPISODES,
    )
    episodes = {
        scenario: {key: [list(shift * values[key] * (1.0 + spread * luck))] for key in PER_EPISODE}
        for scenario, shift in (("a", 1.0), ("b", 2.0), *changed.items())
    }
    latencies = {scenario: [requests(0.1, 100.0).packed()] for scenario in episodes}
    return MeasuredDecider(job, "rule", 1.0, 1.0, 10, 0.001, "", episodes, latencies)


def requests(latency_s: float, number: float) -> Latencies:
    return Latencies.of(np.array([latency_s]), np.array([number]))


def case(**costs: float) -> list[MeasuredDecider]:
    return [
        measured(name.replace("_", "-"), seed, cost)
        for name, cost in costs.items()
        for seed in range(N_SEEDS)
    ]


@pytest.fixture
def samples() -> Samples:
    return Samples(case(oracle=1.0, best_static=2.0, edge_only=4.0, advised=1.1))


def test_share_of_the_way_is_paired(samples):
    way = gap_closed(samples, OURS, ALL)
    assert way.mean == pytest.approx(0.9)
    # Luck that all share does not widen the interval.
    assert way.low == pytest.approx(0.9)
    assert way.high == pytest.approx(0.9)


def test_interval_of_a_mean_holds_it_and_has_a_width(samples):
    (row,) = (r for r in rows(KEY, samples) if r.decider == OURS and r.scenario == "a")
    assert row.cost.low < row.cost.mean < row.cost.high
    assert row.cost.mean == pytest.approx(1.1, rel=0.1)
    assert row.oracle_gap.mean == pytest.approx(0.1)


def test_over_all_is_the_mean_of_the_scenarios(samples):
    found = {(r.decider, r.scenario): r for r in rows(KEY, samples)}
    both = [found["edge-only", name].cost.mean for name in ("a", "b")]
    assert found["edge-only", ALL].cost.mean == pytest.approx(np.mean(both))


def test_no_share_where_the_way_is_short():
    samples = Samples(case(oracle=1.0, best_static=1.04, edge_only=4.0))
    assert math.isnan(gap_closed(samples, "edge-only", ALL).mean)


def test_ratio_and_difference_have_the_sign_of_their_words(samples):
    assert ratio(samples, "cost", OURS, "edge-only", "a").mean == pytest.approx(1.1 / 4.0)
    more = difference(samples, "cost", "edge-only", "oracle", "a")
    assert more.low > 0.0


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """Means of other draws of the same distribution fall into 95 % intervals most of the time."""
    hits = 0
    for trial in range(40):
        draw = np.random.default_rng(1000 + trial)
        results = []
        for name in ("oracle", "best-static"):
            for seed in range(10):
                one = measured(name, seed, 1.0)
                values = list(draw.normal(1.0, 0.2, size=N_EPISODES))
                scenario = {**one.episodes["a"], "cost": [values]}
                results.append(replace(one, episodes={"a": scenario}))
        (row, *_) = rows(KEY, Samples(results))
        hits += row.cost.low <= 1.0 <= row.cost.high
    assert hits >= 34


def test_one_fit_may_serve_several_seeds():
    apart = case(oracle=1.0, best_static=2.0)
    oracles, others = apart[:N_SEEDS], apart[N_SEEDS:]
    job = replace(oracles[0].job, episode_seeds=tuple(range(N_SEEDS)))
    joined = {
        name: {key: [o.episodes[name][key][0] for o in oracles] for key in values}
        for name, values in oracles[0].episodes.items()
    }
    latencies = {name: [o.latencies[name][0] for o in oracles] for name in joined}
    together = [replace(oracles[0], job=job, episodes=joined, latencies=latencies), *others]
    assert rows(KEY, Samples(together)) == rows(KEY, Samples(apart))
    assert len(by_case(together)[KEY]) == 1 + N_SEEDS


def test_strongest_published_rival_is_the_cheapest_in_cost():
    samples = Samples(case(oracle=1.0, best_static=2.0, edge_only=4.0, neurosurgeon=3.0))
    assert strongest_published(samples) == "neurosurgeon"


def test_bars_say_met_only_where_they_are():
    energies = {"oracle": 0.5, "best-static": 0.8, "edge-only": 1.0, "cloud-only": 2.0, OURS: 0.6}
    costs = {"oracle": 1.0, "best-static": 2.0, "edge-only": 4.0, "cloud-only": 5.0, OURS: 1.02}
    results = [
        measured(name, seed, costs[name], energy_j=energies[name])
        for name in costs
        for seed in range(N_SEEDS)
    ]
    verdict = {bar.what: bar.is_met for bar in bars(Samples(results))}
    assert verdict["energy below edge-only, the strongest published"]
    assert verdict["of the gap between best-static and the oracle"]
    assert not verdict["latency below edge-only"]
    assert verdict["requests in time, of the oracle's"]


def test_percentile_of_a_row_is_that_of_its_pooled_requests():
    """One seed of four is slow and answers few requests: the mean of percentiles would be 0.575."""
    results = case(oracle=1.0, best_static=2.0)
    slow = requests(2.0, 10.0).packed()
    results = [
        replace(r, latencies={**r.latencies, "a": [slow]}) if r.job.fit_seed == 0 else r
        for r in results
    ]
    samples = Samples(results)
    found = {
        r.scenario: r.pooled_p95_latency_s for r in rows(KEY, samples) if r.decider == "oracle"
    }
    assert found["a"] == pytest.approx(0.1, rel=0.02)  # 10 of 310
    few = requests(0.1, 1.0).packed()
    results = [replace(r, latencies={**r.latencies, "b": [few]}) for r in results]
    more = [
        replace(r, latencies={**r.latencies, "a": [slow]}) if r.job.fit_seed < 2 else r
        for r in results
    ]
    samples = Samples(more)
    # 20 of 220, and of 224 over both scenarios, which are not weighted alike: requests are.
    assert samples.p95_latency_s("oracle", "a") == pytest.approx(2.0, rel=0.02)
    assert samples.p95_latency_s("oracle", "b") == pytest.approx(0.1, rel=0.02)
    assert samples.p95_latency_s("oracle", ALL) == pytest.approx(2.0, rel=0.02)


def test_recorded_links_have_means_of_their_own():
    links = {"starlink-4@b": 10.0, "starlink-6@b": 30.0, "TMobile-LTE-short@b": 100.0}
    results = [
        measured(name, seed, 1.0, spread=0.0, changed=links)
        for name in ("oracle", "best-static")
        for seed in range(N_SEEDS)
    ]
    samples = Samples(results)
    assert samples.groups[ALL] == ["a", "b"]
    assert samples.mean("oracle", ALL, "cost") == pytest.approx(1.5)
    assert samples.mean("oracle", HELD_OUT, "cost") == pytest.approx(20.0)
    assert samples.mean("oracle", FITTED_TO, "cost") == pytest.approx(100.0)
    assert samples.resampled("oracle", HELD_OUT, "cost") == pytest.approx(20.0)
    names = {"a", "b", *links, ALL, HELD_OUT, FITTED_TO}
    assert {row.scenario for row in rows(KEY, samples)} == names


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (1.0005, "Learning and searching are level"),
        (1.05, "Learning costs more than searching"),
        (0.95, "Learning costs less than searching"),
    ],
)
def test_the_first_paragraph_says_what_learning_is_worth_beside_searching(cost, said):
    samples = Samples(case(oracle=0.9, best_static=2.0, advised=cost, model_search=1.0))
    (paragraph,) = learning_against_searching(samples)
    assert said in paragraph
    assert f"{100 * (cost - 1.0):+.2f} %" in paragraph
    assert ("It costs" in paragraph) == ("level" not in said)


def test_a_difference_within_its_interval_is_none():
    results = case(oracle=0.9, best_static=2.0, advised=1.0)
    results += [measured("model-search", seed, 1.0 + 0.1 * (-1) ** seed) for seed in range(N_SEEDS)]
    (paragraph,) = learning_against_searching(Samples(results))
    assert "level" in paragraph
    assert not learning_against_searching(Samples(case(oracle=0.9, best_static=2.0)))


def test_the_page_begins_with_what_learning_is_worth_and_keeps_recorded_links_apart():
    links = {"starlink-4@b": 10.0, "starlink-6@b": 30.0}
    links |= {"TMobile-LTE-short@b": 50.0, "Verizon-LTE-short@b": 150.0}
    costs = {"oracle": 1.0, "best-static": 2.0, OURS: 1.1, "model-search": 1.1}
    results = [
        measured(name, seed, cost, spread=0.0, changed=links)
        for name, cost in costs.items()
        for seed in range(N_SEEDS)
    ]
    samples = Samples(results)
    speed = speed_rows(KEY, results)
    text = page(rows(KEY, samples), speed, [], {KEY: results}, samples, [], "command")
    title, paragraph, *_ = text.split("\n\n")
    assert title.startswith("# ")
    assert paragraph.startswith("**Learning and searching are level**")
    shipped, recorded = text.split("## Recorded links")
    assert "starlink" not in shipped
    (row,) = (line for line in recorded.splitlines() if line.startswith(f"| {OURS} | 22"))
    assert row.split(" | ")[1:3] == ["22.0000 ± 0.0000", "10.0 ± 0.0"]
    assert row.split(" | ")[4] == "110.0000 ± 0.0000"

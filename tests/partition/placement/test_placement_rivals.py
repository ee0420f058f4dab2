"""The published methods, and what is known of them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from instances import least_period

from benchmarks.placement import bench, compare
from benchmarks.placement.published import identical, matching, tables
from benchmarks.placement.published.cost_model import (
    MB,
    Chain,
    chain_of,
    published_problem,
    random_cluster,
)
from benchmarks.placement.published.instances import FAMILIES
from benchmarks.placement.published.layers import LayerGraph
from benchmarks.placement.published.networks import NETWORKS
from partition.placement.solver.bisection import solve_throughput


@pytest.mark.parametrize(
    ("network", "points", "parameters", "memory_mb"),
    [
        ("MobileNetV2", 76, 3_538_984, 86),
        ("EfficientNetB1", 93, 7_856_239, 160),
        ("ResNet50", 41, 25_636_712, 165),
        ("InceptionResNetV2", 105, 55_873_736, 362),
        ("VGG16", 23, 138_357_544, 190),
        ("Xception", 27, 22_910_480, 261),
        ("DenseNet121", 81, 8_062_504, 198),
    ],
)
def test_networks_are_those_of_keras(network, points, parameters, memory_mb):
    graph = NETWORKS[network]()
    assert sum(layer.parameters for layer in graph.layers) == parameters
    chain = chain_of(graph)
    assert chain.n_points == points
    assert chain.segment_bytes.sum() / MB == pytest.approx(memory_mb, abs=0.6)


def test_random_clusters_have_the_published_rates():
    rng = np.random.default_rng(0)
    rates = [random_cluster(20, rng) for _ in range(200)]
    off = ~np.eye(20, dtype=bool)
    assert np.mean([rate[off].mean() for rate in rates]) == pytest.approx(6.0, abs=0.1)
    assert min(rate[off].min() for rate in rates) > 2.8
    assert all(np.array_equal(rate, rate.T) for rate in rates)


def small_chain(seed: int) -> Chain:
    rng = np.random.default_rng(seed)
    p = int(rng.integers(2, 8))
    return Chain(rng.uniform(0.5, 9, p), rng.integers(1, 10, p - 1))


def test_the_published_problem_is_the_same_for_our_solver():
    solved = 0
    for seed in range(120):
        chain = small_chain(seed)
        rng = np.random.default_rng(seed)
        rate = random_cluster(int(rng.integers(2, 6)), rng)
        capacity = int(rng.integers(4, 30))
        problem = published_problem(chain, rate, capacity)
        found = solve_throughput(problem)
        assert found.period_s == least_period(problem)
        for plan in (
            matching.k_path(chain, rate, capacity, rng, 5),
            matching.greedy(chain, rate, capacity),
            matching.at_random(chain, rate, capacity, rng),
        ):
            if plan is None:
                continue
            cuts, nodes = plan
            stages = list(pairwise([0, *cuts, chain.n_points]))
            assert all(chain.stage_bytes(a, b) < capacity for a, b in stages)
            assert len(set(nodes)) == len(nodes) == len(cuts) + 1
            period_s = matching.period_s(chain, rate, plan)
            assert period_s >= found.period_s - 1e-6
            solved += 1
    assert solved > 100


def test_cuts_have_the_least_sum_of_transfers():
    for seed in range(60):
        chain, capacity = small_chain(seed), 12
        cuts = matching.min_sum_cuts(chain, capacity)
        best = _least_sum(chain, capacity)
        if cuts is None:
            assert best == math.inf
        else:
            assert sum(chain.transfer_mbit[cut - 1] for cut in cuts) == pytest.approx(best)


def _least_sum(chain: Chain, capacity: int, start: int = 0) -> float:
    if start == chain.n_points:
        return 0.0
    best = math.inf
    for end in range(start + 1, chain.n_points + 1):
        if chain.stage_bytes(start, end) < capacity:
            out = chain.transfer_mbit[end - 1] if end < chain.n_points else 0.0
            best = min(best, out + _least_sum(chain, capacity, end))
    return best


def test_colour_coding_finds_the_path_whose_slowest_link_is_fastest():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rate = random_cluster(6, rng)
        path = matching._best_path(rate, 4, (None, None), set(), rng)
        worst = min(rate[a, b] for a, b in pairwise(path))
        assert worst == max(_worst_links(rate, [], 4)), seed
        assert len(set(path)) == 4


def _worst_links(rate, path, k):
    if len(path) == k:
        yield min(rate[a, b] for a, b in pairwise(path))
        return
    for node in set(range(len(rate))) - set(path):
        yield from _worst_links(rate, [*path, node], k)


def test_a_path_keeps_the_ends_that_are_placed_already():
    rng = np.random.default_rng(1)
    rate = random_cluster(8, rng)
    path = matching._best_path(rate, 4, (2, 5), {2, 5, 7}, rng)
    assert (path[0], path[-1]) == (2, 5)
    assert 7 not in path


def branching() -> LayerGraph:
    """Two branches that no single cut separates."""
    graph = LayerGraph()
    x = graph.conv(graph.input(8), 4, 3)
    left = graph.conv(graph.conv(x, 4, 3), 8, 3)
    right = graph.conv(graph.conv(x, 16, 1), 8, 1)
    graph.dense(graph.mean(graph.add(left, right)), 10)
    return graph


def test_programs_for_identical_devices_agree_where_they_must():
    for make in (branching, NETWORKS["VGG16"], NETWORKS["MobileNetV2"]):
        graph = make()
        flops, elements = identical.chain_blocks(graph)
        work_s, crossing_s = np.array(flops) / 1e9, 4 * np.array(elements) / 1e8
        pipedream_s = identical.pipedream(work_s, crossing_s, 3)
        ours = solve_throughput(identical.max_load_problem(work_s, crossing_s, 3))
        assert ours.period_s == pytest.approx(pipedream_s, rel=1e-9)
        assert identical.over_ideals(graph, 1e9, 1e8, 3) <= pipedream_s * (1 + 1e-9)


def test_ideals_are_the_sets_that_need_nothing_from_outside():
    graph = branching()
    needs = [set(layer.inputs) for layer in graph.layers]
    n = len(graph.layers)
    expected = {
        bits
        for bits in range(1 << n)
        if all(needs[i] <= set(identical.bits_of(bits)) for i in identical.bits_of(bits))
    }
    assert set(identical.ideals_of(graph)) == expected


def test_program_over_ideals_is_brute_force_over_sequences_of_ideals():
    graph = branching()
    ideals = identical.ideals_of(graph)
    crossing = identical._Crossing(graph, 1e6)
    work_s = [layer.flops / 1e8 for layer in graph.layers]

    def least(small, devices):
        if small == ideals[-1]:
            return 0.0
        if not devices:
            return math.inf
        best = math.inf
        for large in ideals:
            if large != small and not small & ~large:
                stage = large & ~small
                load = sum(work_s[i] for i in identical.bits_of(stage))
                load += crossing.seconds(small, large)
                best = min(best, max(load, least(large, devices - 1)))
        return best

    assert identical.over_ideals(graph, 1e8, 1e6, 2) == pytest.approx(least(0, 2))


@pytest.mark.parametrize("family", FAMILIES)
def test_families_can_be_placed_and_bounds_hold(family):
    problem = FAMILIES[family](4, 6, np.random.default_rng(0))
    found = solve_throughput(problem)
    assert found.period_s == found.bound_s == least_period(problem)
    assert math.isfinite(found.period_s)


def test_page_is_written_with_its_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tables, "NETWORKS", {"VGG16": NETWORKS["VGG16"]})
    monkeypatch.setattr(tables, "HARDER", ("VGG16",))
    monkeypatch.setattr(tables, "NODES", (5, 50))
    rows = bench.measure(((4, 6, 5.0),), 1)
    bars = tmp_path / "bars.json"
    far = replace(rows[0], family="far", devices=50, worst_gap=0.051)
    bars.write_text(bench.to_json([*rows, far]))
    words = ["compare", "--trials", "2", "--bars", str(bars), "--out", str(tmp_path / "page.md")]
    monkeypatch.setattr("sys.argv", words)
    compare._main()
    text = (tmp_path / "page.md").read_text()
    assert "| VGG16 | 64 |" in text
    assert "| even | 4 | 7 | 1 of 1 | 0.00% |" in text
    assert "Missed at 50 devices, with the worst gap: far (5.1%)." in text
    assert (tmp_path / "placement-ratios.png").stat().st_size > 10_000

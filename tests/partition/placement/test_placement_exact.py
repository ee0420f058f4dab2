"""The solvers against every placement tried one by one."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from instances import (
    all_placements,
    energy,
    latency,
    least_period,
    least_period_in_pairs,
    parts,
    random_problem,
)

from benchmarks.placement.published.instances import FAMILIES
from partition.placement.cluster import Cluster
from partition.placement.errors import PlacementError
from partition.placement.solver import bisection
from partition.placement.solver.bisection import solve_throughput
from partition.placement.solver.choices import list_choices
from partition.placement.solver.problem import build_problem, memory_of_stages
from partition.placement.solver.solve import PlacementObjective, solve
from partition.placement.solver.stage_graph import Threshold

CLUSTERS = Path(__file__).parents[3] / "docs/clusters"
CHUNK = 250
LONG_S = 1e6  # tests must not depend on how busy the machine is


@pytest.mark.parametrize("chunk", range(8))
def test_shortest_period_is_that_of_brute_force(chunk):
    outcomes = Counter()
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        problem = random_problem(seed)
        truth = least_period(problem)
        found = solve_throughput(problem, time_limit_s=LONG_S)
        assert found.period_s == truth, seed
        assert found.bound_s == truth, seed
        outcomes[math.isfinite(truth)] += 1
    assert min(outcomes[True], outcomes[False]) > 0  # some fit, some do not


@pytest.mark.parametrize("chunk", range(4))
def test_search_for_many_devices_finds_and_proves_the_same(chunk, monkeypatch):
    monkeypatch.setattr(bisection, "_FEW_STATES", 0)
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        problem = random_problem(seed)
        found = solve_throughput(problem, time_limit_s=LONG_S)
        truth = least_period(problem)
        assert (found.period_s, found.bound_s) == (truth, truth), seed


CONVNEXT_TINY = [602_112] + [1_204_224] * 10 + [602_112] * 7 + [301_056] * 14 + [150_528] * 6
"""Bytes of its cuts as float32: the input is as large as those after the second stem."""


@pytest.mark.parametrize(("n", "seed"), [(8, 0), (8, 1), (12, 2), (12, 3), (30, 4), (30, 5)])
def test_an_input_as_large_as_later_cuts_takes_none_of_them_away(n, seed):
    cut_bytes = np.array([*CONVNEXT_TINY, 4000])
    problem = FAMILIES["even"](n, len(cut_bytes) - 1, np.random.default_rng(seed))
    problem = replace(problem, cut_bytes=cut_bytes, bytes_per_s=problem.bytes_per_s * 2)
    found = solve_throughput(problem, time_limit_s=LONG_S)
    cut_bytes = cut_bytes.copy()
    cut_bytes[0] += 1  # nobody sends it: there is no source
    other = solve_throughput(replace(problem, cut_bytes=cut_bytes), time_limit_s=LONG_S)
    assert found.proved
    assert found.period_s == other.period_s


def test_the_input_has_no_sender_and_every_other_cut_of_its_size_has():
    problem = replace(
        random_problem(2, n=3, n_blocks=4),
        cut_bytes=np.array([5, 7, 5, 5, 5]),
        bytes_per_s=1e6 * (1 - np.eye(3)),
    )
    choices = list_choices(problem)
    senders = Threshold(choices, choices.largest_s).senders
    assert senders[0] == []
    assert senders[1] == senders[2] == senders[3]
    assert all(len(of_choice) > 0 for of_choice in senders[2])


def test_nothing_crosses_a_missing_link_either():
    problem = random_problem(2, n=3, n_blocks=2)
    links = np.zeros((3, 3))
    links[0, 1] = 1e6
    problem = replace(
        problem, cut_bytes=np.zeros(3, dtype=np.int64), bytes_per_s=links, source=0, sink=0
    )
    with np.errstate(all="raise"):
        assert problem.entry_s.tolist() == [0.0, 0.0, math.inf]
        assert problem.exit_s.tolist() == [0.0, math.inf, math.inf]
        assert problem.transfer_s(1, 0, 1) == 0.0
        assert problem.transfer_s(1, 1, 0) == math.inf


def test_no_device_is_taken_that_the_period_does_not_need():
    n_thinned = 0
    for seed in range(200):
        problem = random_problem(seed)
        found = solve_throughput(problem, time_limit_s=LONG_S)
        if not found.steps:
            continue
        fastest = [p for p in all_placements(problem) if max(parts(problem, p)) <= found.period_s]
        numbers = {len(placement) for placement in fastest}
        assert len(found.steps) == min(numbers), seed
        n_thinned += len(numbers) > 1
    assert n_thinned > 20


class Ticks:
    """A clock on which every look takes a second."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        self.now_s += 1.0
        return self.now_s


@pytest.mark.parametrize("few", [True, False])
def test_bound_is_never_above_the_optimum_however_soon_time_is_up(few, monkeypatch):
    if not few:
        monkeypatch.setattr(bisection, "_FEW_STATES", 0)
    unproved = 0
    for seed in range(300):
        problem = random_problem(seed)
        truth = least_period(problem)
        for limit_s in (1, 3, 6, 12):
            found = solve_throughput(problem, time_limit_s=limit_s, clock=Ticks())
            assert found.bound_s <= truth <= found.period_s, (seed, limit_s)
            unproved += math.isfinite(truth) and not found.proved
    assert unproved > 100


def test_what_is_found_is_a_placement():
    for seed in range(100):
        problem = random_problem(seed, n=5, n_blocks=7)
        if not math.isfinite(least_period(problem)):
            continue
        plan = solve(problem, PlacementObjective(time_limit_s=LONG_S))
        devices = [device for stage in plan.stages for device in stage.devices]
        assert len(set(devices)) == len(devices)
        assert [plan.stages[0].start, plan.stages[-1].end] == [0, problem.n_blocks]
        assert all(a.end == b.start for a, b in pairwise(plan.stages))
        assert all(stage.memory_bytes <= stage.free_bytes for stage in plan.stages)
        times = [max(stage.period_s, stage.receive_s) for stage in plan.stages]
        assert plan.period_s == max(*times, plan.send_s) == plan.bound


@pytest.mark.parametrize("chunk", range(2))
def test_least_latency_is_that_of_brute_force(chunk):
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        problem = random_problem(seed)
        truth = min((latency(problem, s) for s in all_placements(problem)), default=math.inf)
        if math.isinf(truth):
            with pytest.raises(PlacementError):
                solve(problem, PlacementObjective(objective="latency", time_limit_s=LONG_S))
            continue
        plan = solve(problem, PlacementObjective(objective="latency", time_limit_s=LONG_S))
        assert plan.latency_s == pytest.approx(truth, rel=1e-9), seed
        assert plan.bound == pytest.approx(truth, rel=1e-9), seed


def test_least_energy_is_that_of_brute_force_over_all_clocks():
    met = Counter()
    for seed in range(CHUNK):
        problem = random_problem(seed)
        period_s = 1.6 * least_period(problem)
        if math.isinf(period_s):
            continue
        truth = min(energy(problem, s, period_s) for s in all_placements(problem))
        plan = solve(
            problem,
            PlacementObjective(objective="energy", rate_hz=1 / period_s, time_limit_s=LONG_S),
        )
        assert plan.energy_j == pytest.approx(truth, rel=1e-9), seed
        assert plan.bound == pytest.approx(truth, rel=1e-9), seed
        assert plan.period_s <= period_s * (1 + 1e-12)
        met.update(stage.clock_hz for stage in plan.stages)
    assert min(met[1e9], met[2e9]) > 20  # slow clocks pay, and not everywhere


def test_shortest_period_within_a_latency_is_that_of_brute_force():
    for seed in range(150):
        problem = random_problem(seed)
        both = [(max(parts(problem, s)), latency(problem, s)) for s in all_placements(problem)]
        both = [(p, t) for p, t in both if math.isfinite(t)]
        if not both:
            continue
        limit_s = 1.2 * min(t for _, t in both)
        truth = min(p for p, t in both if t <= limit_s)
        plan = solve(problem, PlacementObjective(max_latency_s=limit_s, time_limit_s=LONG_S))
        assert plan.period_s == pytest.approx(truth, rel=1e-12), seed
        assert plan.bound == pytest.approx(truth, rel=1e-12), seed


@pytest.mark.parametrize("objective", ["latency", "energy"])
def test_a_rate_of_exactly_one_over_a_period_can_be_kept(objective):
    n_rounded = 0
    for seed in range(60):
        problem = random_problem(seed)
        period_s = least_period(problem)
        if not 0.0 < period_s < math.inf:
            continue
        n_rounded += 1 / (1 / period_s) < period_s
        rate_hz = np.nextafter(1 / period_s, math.inf)
        plan = solve(
            problem, PlacementObjective(objective=objective, rate_hz=rate_hz, time_limit_s=LONG_S)
        )
        assert plan.proved, seed
        assert plan.period_s == pytest.approx(period_s, rel=1e-8), seed
        with pytest.raises(PlacementError, match="keeps up"):
            solve(problem, PlacementObjective(objective=objective, rate_hz=rate_hz * (1 + 1e-6)))
    assert n_rounded > 0


def test_a_latency_of_exactly_the_least_can_be_asked_for():
    for seed in range(60):
        problem = random_problem(seed)
        least_s = min((latency(problem, s) for s in all_placements(problem)), default=math.inf)
        if not 0.0 < least_s < math.inf:
            continue
        limit_s = np.nextafter(least_s, 0.0)
        assert solve(problem, PlacementObjective(max_latency_s=limit_s, time_limit_s=LONG_S)).proved
        with pytest.raises(PlacementError, match="allow that much") as error:
            solve(problem, PlacementObjective(max_latency_s=least_s * (1 - 1e-6)))
        allowed_s = float(re.search(r"is (\S+) s or more", str(error.value))[1])
        assert solve(
            problem, PlacementObjective(max_latency_s=allowed_s, time_limit_s=LONG_S)
        ).proved


def test_replicas_are_those_of_brute_force():
    shared = 0
    for seed in range(150):
        problem = random_problem(seed, n=4, n_blocks=1 + seed % 4)
        truth = least_period_in_pairs(problem)
        found = solve_throughput(problem, max_replicas=2, time_limit_s=LONG_S)
        assert found.period_s == pytest.approx(truth, rel=1e-12), seed
        shared += truth < least_period(problem)
    assert shared > 20


def test_cp_sat_agrees():
    pytest.importorskip("ortools")
    from cpsat import least_period_by_cpsat

    for seed in range(60):
        problem = random_problem(seed)
        found = solve_throughput(problem, time_limit_s=LONG_S)
        checked_s = least_period_by_cpsat(problem, time_limit_s=LONG_S)
        assert checked_s == pytest.approx(found.period_s, abs=2e-9), seed


@pytest.mark.parametrize("file", ["shelf.toml", "three-tiers.toml"])
def test_cp_sat_agrees_on_documented_clusters(tiny, file):
    pytest.importorskip("ortools")
    from cpsat import least_period_by_cpsat

    problem = build_problem(tiny, Cluster.load(CLUSTERS / file))
    found = solve_throughput(problem, time_limit_s=LONG_S)
    checked_s = least_period_by_cpsat(problem, time_limit_s=LONG_S)
    assert checked_s == pytest.approx(found.period_s, abs=2e-9)


def test_twins_are_one_class_and_the_ends_are_not():
    problem = random_problem(0, n=4, n_blocks=3)
    like = replace(
        problem,
        block_s=np.tile(problem.block_s[:1], (4, 1)),
        encode_s=np.tile(problem.encode_s[:1], (4, 1)),
        decode_s=np.tile(problem.decode_s[:1], (4, 1)),
        capacity_bytes=np.full(4, 10**9),
        bytes_per_s=np.full((4, 4), 1e6) * (1 - np.eye(4)),
        idle_w=np.ones(4),
        send_w=np.ones(4),
        source=0,
        sink=None,
    )
    assert like.classes == ((0,), (1, 2, 3))
    slower = like.bytes_per_s.copy()
    slower[3, 1] /= 2
    assert replace(like, bytes_per_s=slower).classes == ((0,), (1,), (2,), (3,))
    assert len(list_choices(like, max_replicas=2)) == 3  # the source encodes inputs, unlike others
    like = replace(like, encode_s=np.zeros_like(like.encode_s))
    assert len(list_choices(like, max_replicas=2)) == 4  # each class, two of the twins, one of each


def test_memory_of_a_stage_is_weights_peak_and_what_waits_at_its_ends():
    table = memory_of_stages([0, 10, 30, 60], [0, 5, 9, 2], np.array([1, 2, 3, 4]), queue_depth=2)
    assert table[0, 1] == 10 + 5 + 3 * (1 + 2)
    assert table[0, 3] == 60 + 9 + 3 * (1 + 4)
    assert table[1, 3] == 50 + 9 + 3 * (2 + 4)
    assert not np.tril(table).any()

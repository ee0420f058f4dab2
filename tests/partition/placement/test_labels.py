"""The search of all that prices leave, against every placement tried one by one."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from instances import least_period, random_problem

from partition.placement.solver import bisection
from partition.placement.solver.choices import list_choices
from partition.placement.solver.label_setting import LabelSearch, Packed
from partition.placement.solver.stage_graph import Threshold

MOST = 10**6


def some_prices(choices, seed):
    """Of all devices together 1; any of them rule out nothing that is a placement."""
    prices = np.random.default_rng(seed).exponential(size=len(choices.counts))
    return prices / (choices.counts @ prices)


@pytest.mark.parametrize("chunk", range(4))
def test_whatever_the_prices_it_finds_a_placement_or_there_is_none(chunk):
    n_asked = 0
    for seed in range(chunk * 100, (chunk + 1) * 100):
        problem = random_problem(seed)
        truth = least_period(problem)
        choices = list_choices(problem)
        if not math.isfinite(truth):
            threshold = Threshold(choices, choices.largest_s)
            assert LabelSearch(threshold, some_prices(choices, seed), MOST, 0).run().steps == ()
            continue
        n_asked += 1
        for period_s, expected_s in ((truth, truth), (np.nextafter(truth, 0.0), None)):
            threshold = Threshold(choices, period_s)
            found = LabelSearch(threshold, some_prices(choices, seed), MOST, 0).run()
            assert found.complete
            here = bisection.period_of(choices, found.steps) if found.steps else None
            assert here == expected_s, seed
    assert n_asked > 50


def test_replicas_share_stages_only_as_often_as_they_are_there():
    for seed in range(60):
        choices = list_choices(random_problem(seed), max_replicas=2)
        best = bisection.solve_throughput(choices.problem, max_replicas=2, time_limit_s=1e6)
        if not best.steps:
            continue
        threshold = Threshold(choices, best.period_s)
        found = LabelSearch(threshold, some_prices(choices, seed), MOST, 0).run()
        assert bisection.period_of(choices, found.steps) == best.period_s, seed
        taken = choices.uses[[c for c, _, _ in found.steps]].sum(axis=0)
        assert (taken <= choices.counts).all()


def test_a_beam_finds_placements_but_proves_nothing():
    n_found = n_left_out = 0
    for seed in range(100):
        choices = list_choices(random_problem(seed, n=5, n_blocks=7))
        truth = least_period(choices.problem)
        if not math.isfinite(truth):
            continue
        threshold = Threshold(choices, 1.1 * truth)
        found = LabelSearch(threshold, some_prices(choices, seed), 0, 3).run()
        n_left_out += not found.complete
        if found.steps:
            n_found += 1
            assert truth <= bisection.period_of(choices, found.steps) <= 1.1 * truth
        else:
            assert not found.complete, seed
    assert min(n_found, n_left_out) > 30


def test_without_a_beam_it_gives_up_at_once_and_when_time_is_up():
    choices = list_choices(random_problem(5, n=5, n_blocks=7))
    threshold = Threshold(choices, choices.largest_s)
    prices = some_prices(choices, 0)
    assert LabelSearch(threshold, prices, MOST, 0).run().steps
    for search in (
        LabelSearch(threshold, prices, 0, 0),
        LabelSearch(threshold, prices, MOST, 0, lambda: False),
    ):
        found = search.run()
        assert (found.steps, found.complete) == ((), False)


@pytest.mark.parametrize("n_classes", [3, 40, 200])
def test_packed_sets_count_as_sets_do(n_classes):
    draw = np.random.default_rng(n_classes)
    counts = draw.choice([1, 1, 1, 2, 7, 30], n_classes)
    groups = draw.integers(0, 3, (2 * n_classes, n_classes)) * (
        draw.random((2 * n_classes, n_classes)) < 3 / n_classes
    )
    uses = np.concatenate([np.eye(n_classes, dtype=int), np.minimum(groups, counts)])
    uses = uses[uses.any(axis=1)]

    class Some(SimpleNamespace):
        def __len__(self):
            return len(self.uses)

    packed = Packed(Some(uses=uses, counts=counts))
    taken, plain = packed.none, np.zeros((1, n_classes), int)
    for _ in range(5000):
        free = packed.free(taken)
        np.testing.assert_array_equal(free[0], ((plain + uses) <= counts).all(axis=1))
        if not free.any():
            break
        choice = draw.choice(np.flatnonzero(free[0]), 1)
        taken, plain = packed.add(taken, choice), plain + uses[choice]
    assert plain.sum() > 0.5 * counts.sum()


def test_the_first_blocks_that_it_got_to_are_told():
    problem = random_problem(5, n=5, n_blocks=7)
    choices = list_choices(problem)
    threshold = Threshold(choices, choices.largest_s)
    nothing = np.zeros((problem.n_blocks + 1, len(choices)))
    search = LabelSearch(threshold, some_prices(choices, 0), 0, 50, after=nothing)
    assert search.run().steps == search.furthest()
    assert search.furthest()[-1][2] == problem.n_blocks

"""Prices refute no period within which there is a placement, and get better."""

from __future__ import annotations

import math

import numpy as np
import pytest
from instances import least_period, random_problem

from benchmarks.placement.published.instances import FAMILIES
from partition.placement.solver import bisection
from partition.placement.solver.choices import list_choices
from partition.placement.solver.lagrangian import Ascent
from partition.placement.solver.stage_graph import Threshold


def problems_with_a_placement(n_problems):
    """Choices of small ones, and the shortest period."""
    for seed in range(n_problems):
        problem = random_problem(seed, n=5, n_blocks=7)
        truth = least_period(problem)
        if math.isfinite(truth):
            yield list_choices(problem), truth


def test_a_period_with_a_placement_is_never_refuted():
    n_met = n_asked = 0
    for choices, truth in problems_with_a_placement(60):
        ascent = Ascent(Threshold(choices, truth))
        ascent.climb(100)
        assert not ascent.refuted
        n_asked += 1
        if ascent.steps:
            n_met += 1
            assert bisection.period_of(choices, ascent.steps) == truth
            taken = choices.uses[[c for c, _, _ in ascent.steps]].sum(axis=0)
            assert (taken <= choices.counts).all()
    assert n_asked > 40
    assert n_met > 20


def test_most_shorter_periods_are_refuted_and_none_is_met():
    n_refuted = n_asked = 0
    for choices, truth in problems_with_a_placement(60):
        ascent = Ascent(Threshold(choices, np.nextafter(truth, 0.0)))
        ascent.climb(100)
        assert ascent.steps == ()
        n_asked += 1
        n_refuted += ascent.refuted
    assert n_refuted > 0.7 * n_asked


@pytest.fixture
def hard():
    """Fifty unlike devices, near the shortest period."""
    problem = FAMILIES["slow links"](50, 99, np.random.default_rng(3))
    return Threshold(list_choices(problem), 0.1256)


def test_prices_get_better_and_all_devices_together_cost_one(hard):
    ascent = Ascent(hard)
    values = []
    for _ in range(6):
        ascent.climb(20)
        values.append(ascent.value)
        for prices in (ascent.best, ascent.prices):
            assert hard.choices.counts @ prices == pytest.approx(1.0)
            assert (prices >= 0.0).all()
        after, before = hard.price_to_go(ascent.best)
        assert hard.cheapest(ascent.best, after, before).price == ascent.value
    assert values == sorted(values)
    assert values[0] < values[-1] < 1.0


def test_halved_steps_get_further_than_whole_ones(hard, monkeypatch):
    halved = Ascent(hard)
    halved.climb(120)
    monkeypatch.setattr("partition.placement.solver.lagrangian._STALLED", 10**6)
    whole = Ascent(hard)
    whole.climb(120)
    assert 1.0 - halved.value < 0.8 * (1.0 - whole.value)


def test_good_prices_are_a_good_start(hard):
    first = Ascent(hard)
    first.climb(60)
    again, afresh = Ascent(hard, first.best), Ascent(hard)
    again.climb(10)
    afresh.climb(10)
    assert again.value >= first.value > afresh.value


def test_nothing_is_done_when_time_is_up(hard):
    ascent = Ascent(hard)
    ascent.climb(10, lambda: False)
    assert ascent.value == -math.inf

"""Searches within a period, which the solvers are made of, against every placement."""

from __future__ import annotations

import math

import numpy as np
import pytest
from instances import least_period, random_problem

from partition.placement.solver import bisection
from partition.placement.solver.choices import list_choices
from partition.placement.solver.ng_routes import NgRoutes
from partition.placement.solver.stage_graph import Threshold
from partition.placement.solver.subset_dp import Digits, Reach


def search_of_few_stages(problem, period_s):
    """What `NgRoutes` says of a period."""
    choices = list_choices(problem)
    threshold = Threshold(choices, period_s)
    alive = np.isfinite(threshold.price_to_go(np.zeros(len(choices.counts)))[0])
    recent = NgRoutes(threshold, alive)
    return choices, recent.find(10**6), recent.gave_up


@pytest.mark.parametrize("chunk", range(2))
def test_the_search_of_few_stages_is_right(chunk):
    n_asked = 0
    for seed in range(chunk * 100, (chunk + 1) * 100):
        problem = random_problem(seed)
        truth = least_period(problem)
        if not math.isfinite(truth):
            continue
        choices, steps, gave_up = search_of_few_stages(problem, truth)
        assert not gave_up
        assert bisection.period_of(choices, steps) == truth, seed
        _, steps, gave_up = search_of_few_stages(problem, np.nextafter(truth, 0.0))
        assert (steps, gave_up) == ((), False), seed
        n_asked += 1
    assert n_asked > 50


def test_a_search_of_few_stages_gives_up_when_it_may_look_no_further():
    problem = random_problem(3)
    choices = list_choices(problem)
    threshold = Threshold(choices, choices.largest_s)
    alive = np.isfinite(threshold.price_to_go(np.zeros(len(choices.counts)))[0])
    recent = NgRoutes(threshold, alive)
    assert recent.find(0) == ()
    assert recent.gave_up


def reached(problem, period_s, tracked=None):
    """What a search that tracks some devices, or all, gets to within a period."""
    choices = list_choices(problem)
    everything = list(range(len(choices.counts)))
    threshold = Threshold(choices, period_s)
    after, _ = threshold.price_to_go(np.zeros(len(choices.counts)))
    digits = Digits(choices.uses, choices.counts, everything if tracked is None else tracked)
    return threshold, Reach(threshold, digits, np.isfinite(after))


@pytest.mark.parametrize("chunk", range(4))
def test_whatever_is_tracked_no_placement_is_missed_and_tracked_devices_are_taken_once(chunk):
    n_asked = n_twice = 0
    for seed in range(chunk * 100, (chunk + 1) * 100):
        problem = random_problem(seed, n=5, n_blocks=6)
        truth = least_period(problem)
        if not math.isfinite(truth):
            continue
        choices = list_choices(problem)
        order = np.random.default_rng(seed).permutation(len(choices.counts)).tolist()
        for n_tracked in range(len(order) + 1):
            threshold, reach = reached(problem, truth, order[:n_tracked])
            assert reach.ends_reached
            steps = reach.walk()
            assert bisection.period_of(choices, steps) <= truth, (seed, n_tracked)
            over = threshold.overuse(steps)
            assert (over[order[:n_tracked]] <= 0).all(), (seed, n_tracked)
            n_twice += (over > 0).any()
            n_asked += 1
        _, below = reached(problem, np.nextafter(truth, 0.0))
        assert not below.ends_reached, seed
        assert below.walk() == ()
    assert n_asked > 300
    assert n_twice > 0


def test_a_search_with_tracked_devices_gives_up_when_time_is_up():
    problem = random_problem(5, n=5, n_blocks=7)
    choices = list_choices(problem)
    threshold, whole = reached(problem, choices.largest_s)
    assert whole.ends_reached
    assert not whole.gave_up
    after, _ = threshold.price_to_go(np.zeros(len(choices.counts)))
    digits = Digits(choices.uses, choices.counts, [])
    cut = Reach(threshold, digits, np.isfinite(after), lambda: False)
    assert cut.gave_up
    assert not cut.ends_reached

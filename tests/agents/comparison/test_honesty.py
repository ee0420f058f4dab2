"""A comparison declares no difference where there is none, and finds one of 3 % in 20 minutes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.switchback import N_RUNS, USES_LINK, compare, leakage


@pytest.mark.parametrize("elasticity", [0.0, USES_LINK])
@pytest.mark.parametrize("seed", [1, 2])
def test_equal_arms_are_hardly_ever_told_apart(elasticity, seed):
    ends = compare(0.0, elasticity, seed)
    assert ends.is_shown.sum() <= 17
    assert ends.covers.mean() >= 0.93


@pytest.mark.parametrize("seed", [1, 2])
def test_a_saving_of_three_percent_is_found_within_twenty_minutes(seed):
    ends = compare(0.03, USES_LINK, seed)
    assert ends.is_shown.mean() >= 0.8
    assert ends.covers.mean() >= 0.93
    assert ends.minutes.max() <= 20.0


def test_the_larger_the_saving_the_sooner_it_is_clear():
    small, large = compare(0.07, USES_LINK, 3), compare(0.25, USES_LINK, 3)
    assert small.is_shown.all()
    assert large.is_shown.all()
    assert small.covers.mean() >= 0.93
    assert large.covers.mean() >= 0.93
    assert np.median(large.minutes) < 10.0 < np.median(small.minutes) < 20.0


def test_boards_warm_up_while_they_are_compared():
    power = leakage(np.full(N_RUNS, 45.0), np.random.default_rng(0))
    assert (power[-1] > 1.05).all()
    assert (np.diff(power, axis=0) >= 0.0).all()

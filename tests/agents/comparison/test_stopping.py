from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from agents.comparison.effects import Effect, absolute_effect, relative_effect
from agents.comparison.stopping import StoppingRule, student_quantile


@pytest.mark.parametrize("n_degrees", [2, 3, 4, 7, 23, 60])
@pytest.mark.parametrize("tail", [1e-7, 1e-3, 0.025, 0.3])
def test_students_quantiles_are_those_of_the_tables(tail, n_degrees):
    expected = stats.t.isf(tail / 2.0, n_degrees)
    assert student_quantile(tail, n_degrees) == pytest.approx(expected, rel=1e-6)


def test_a_ratio_is_that_of_the_totals_and_its_error_that_of_many_draws():
    draw = np.random.default_rng(0)
    asked = draw.poisson(100.0, (4000, 30, 1)) + np.zeros(2)
    used = asked * (1.0 + 0.1 * draw.normal(size=asked.shape)) * np.array([0.9, 1.0])
    relative, absolute = relative_effect(used, asked), absolute_effect(used, asked)
    totals = used.sum(axis=1) / asked.sum(axis=1)
    np.testing.assert_allclose(relative.value, np.log(totals[:, 0] / totals[:, 1]))
    np.testing.assert_allclose(absolute.value, totals[:, 0] - totals[:, 1])
    for effect in (relative, absolute):
        assert effect.standard_error.mean() == pytest.approx(effect.value.std(), rel=0.05)


def test_nothing_is_said_of_rounds_without_requests():
    effect = relative_effect(np.ones((5, 2)), np.zeros((5, 2)))
    rule = StoppingRule(10)
    assert not rule.is_shown(effect)
    assert not rule.is_clear(effect)


def test_intervals_of_all_rounds_hold_at_once():
    """However often one looks: normal differences without any, 4000 runs of 24 rounds."""
    draws = np.random.default_rng(1).normal(size=(4000, 24))
    rule = StoppingRule(24)
    is_shown = np.zeros(4000, bool)
    for k in range(3, 25):
        seen = draws[:, :k]
        is_shown |= rule.is_shown(Effect(seen.mean(1), seen.std(1, ddof=1), k))
    assert 0.01 < is_shown.mean() < 0.05


def test_the_last_interval_is_hardly_wider_than_one_without_looks():
    assert StoppingRule(24).width(24) < 1.18 * stats.t.isf(0.025, 23)
    assert StoppingRule(24).width(2) == math.inf


def test_what_is_to_be_expected():
    rule = StoppingRule(24)
    large = Effect(np.array(-0.10), np.array(0.03), 8)
    assert rule.rounds_to_clear(large) == 13
    assert rule.chance(large) > 0.99
    small = Effect(np.array(-0.002), np.array(0.05), 12)
    assert rule.rounds_to_clear(small) is None
    assert rule.chance(small) < 0.1
    assert rule.rounds_needed(small) == pytest.approx((2.2414 * 0.05 / 0.002) ** 2, rel=1e-3)
    assert rule.smallest_shown(small) == pytest.approx(2.4 * 0.05 / 24**0.5, rel=0.01)
    assert StoppingRule.rounds_needed(Effect(np.array(0.0), np.array(0.1), 5)) == math.inf

from __future__ import annotations

import numpy as np
import pytest

from agents.evaluation.statistics import Bootstrap


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for seed in range(100):
        interval = Bootstrap(50, seed).mean(generator.normal(3.0, 1.0, 50))
        hits += interval.low <= 3.0 <= interval.high
    assert 88 <= hits <= 99


def test_interval_is_as_wide_as_the_standard_error_asks():
    values = np.random.default_rng(1).normal(0.0, 2.0, 400)
    interval = Bootstrap(400).mean(values)
    assert interval.mean == values.mean()
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 2.0 / 20.0, rel=0.15)


def test_share_of_way_is_0_at_the_start_1_at_the_goal_and_half_between():
    generator = np.random.default_rng(2)
    start, goal = generator.uniform(2.0, 3.0, 30), generator.uniform(0.5, 1.0, 30)
    bootstrap = Bootstrap(30)
    at_start = bootstrap.gap_closed(start, start, goal)
    at_goal = bootstrap.gap_closed(start, goal, goal)
    halfway = bootstrap.gap_closed(start, 0.5 * (start + goal), goal)
    for interval, share in ((at_start, 0.0), (at_goal, 1.0), (halfway, 0.5)):
        # Paired over episodes: the spread between episodes does not widen the interval.
        assert (interval.mean, interval.low, interval.high) == pytest.approx([share] * 3, abs=1e-12)


def test_share_of_way_is_negative_beyond_the_start():
    start, goal = np.full(5, 2.0), np.full(5, 1.0)
    assert Bootstrap(5).gap_closed(start, np.full(5, 3.0), goal).mean == pytest.approx(-1.0)

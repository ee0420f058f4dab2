from __future__ import annotations

import numpy as np
import pytest

from agents.deployed.histogram import LONGEST_S, RESOLUTION, SHORTEST_S, TimeHistogram


def test_quantiles_are_those_of_all_times_within_the_resolution():
    times_s = np.random.default_rng(0).lognormal(-4.0, 1.5, 20_000)
    histogram = TimeHistogram()
    for time_s in times_s:
        histogram.add(time_s)
    assert len(histogram) == len(times_s)
    for share in (0.01, 0.5, 0.95, 0.99):
        expected_s = np.quantile(times_s, share, method="inverted_cdf")
        assert histogram.quantile_s(share) == pytest.approx(expected_s, rel=RESOLUTION)


def test_what_lies_outside_counts_at_the_ends():
    histogram = TimeHistogram()
    assert histogram.quantile_s(0.5) is None
    for time_s in (0.0, 1e9):
        histogram.add(time_s)
    assert histogram.quantile_s(0.5) == pytest.approx(SHORTEST_S, rel=RESOLUTION)
    assert histogram.quantile_s(1.0) == pytest.approx(LONGEST_S, rel=2 * RESOLUTION)


def test_one_time_is_told_as_it_was():
    histogram = TimeHistogram()
    histogram.add(0.0123)
    assert histogram.quantile_s(0.99) == pytest.approx(0.0123, rel=RESOLUTION)

"""Percentiles of requests of several runs together."""

from __future__ import annotations

import numpy as np
import pytest

from agents.evaluation.episodes import QUANTILES, STANDS_FOR
from agents.evaluation.latencies import LONGEST_S, RESOLUTION, Latencies


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 0.999])
def test_percentiles_of_many_requests_are_those_of_a_sorted_list(share):
    latencies_s = np.random.default_rng(0).lognormal(-3.0, 0.8, 200_000)
    found = Latencies.of(latencies_s, np.ones_like(latencies_s)).quantile_s(share)
    assert found == pytest.approx(np.quantile(latencies_s, share), rel=RESOLUTION / 2)


def test_requests_count_by_their_number_and_those_of_several_runs_add_up():
    """94 of 100 requests are fast: the percentile is slow, the mean of percentiles neither."""
    fast = Latencies.of(np.array([0.05]), np.array([94.0]))
    slow = Latencies.of(np.array([2.0]), np.array([6.0]))
    pooled = fast + slow
    assert pooled.quantile_s(0.95) == pytest.approx(2.0, rel=2 * RESOLUTION)
    assert pooled.quantile_s(0.93) == pytest.approx(0.05, rel=2 * RESOLUTION)
    assert (fast + fast).quantile_s(0.95) == pytest.approx(0.05, rel=2 * RESOLUTION)


def test_what_is_packed_is_what_is_unpacked():
    found = Latencies.of(np.array([0.03, 0.4, 0.4]), np.array([1.0, 2.5, 1.0]))
    np.testing.assert_array_equal(Latencies.unpacked(found.packed()).requests, found.requests)
    assert len(found.packed()) < 300
    assert Latencies.unpacked(Latencies().packed()).requests.sum() == 0.0


def test_absurd_latencies_are_counted_at_the_ends():
    found = Latencies.of(np.array([0.0, 1e9]), np.array([1.0, 1.0]))
    assert found.requests[0] == found.requests[-1] == 1.0
    assert found.quantile_s(1.0) == pytest.approx(LONGEST_S, rel=2 * RESOLUTION)


def test_every_request_of_a_step_is_stood_for():
    assert STANDS_FOR.sum() == pytest.approx(1.0)
    assert len(STANDS_FOR) == len(QUANTILES)
    assert np.cumsum(STANDS_FOR) == pytest.approx(np.array(QUANTILES) + 0.5 * STANDS_FOR)

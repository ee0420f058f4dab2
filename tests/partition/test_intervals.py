"""Intervals of shares."""

from __future__ import annotations

import pytest

from partition.model.intervals import wilson


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (9137, 10_000)])
def test_an_interval_holds_its_share(hits, n):
    low, high = wilson(hits, n)
    assert 0 <= low <= hits / n <= high <= 1
    assert low < high


def test_a_published_wilson_interval():
    # Newcombe 1998, table I: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)

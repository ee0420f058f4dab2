"""The rule for raising clocks, in numbers that can be followed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from partition.edge.raised_clocks import in_all, share_before


@pytest.mark.parametrize(
    ("held_s", "top_s", "share", "takes_s"),
    [
        (0.4, 0.05, 0.02, 0.008 + 0.98 * 0.05),
        (0.05, 0.05, 1.0, 0.05),  # they are the top ones
        (0.02, 0.005, 1.0, 0.02),  # over before it pays
        (0.004, 0.001, 1.0, 0.004),  # over before the clocks are up
        (0.0, 0.0, 1.0, 0.0),
    ],
)
def test_clocks_are_raised_where_it_saves_both_delays(held_s, top_s, share, takes_s):
    found = share_before(held_s, top_s, 0.008)
    assert found == pytest.approx(share)
    assert in_all(found, held_s, top_s) == pytest.approx(takes_s)


def test_a_clock_that_is_in_force_at_once_is_raised_for_anything():
    assert share_before(0.002, 0.001, 0.0) == 0.0


def test_arrays_are_decided_as_single_pieces_of_work_are():
    held_s, top_s = np.array([0.4, 0.02, 0.1]), np.array([0.05, 0.005, 0.02])
    together = share_before(held_s, top_s, 0.008)
    pairs = zip(held_s, top_s, strict=True)
    assert together.tolist() == [float(share_before(*pair, 0.008)) for pair in pairs]

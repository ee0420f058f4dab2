"""The rule for sending and waiting, in numbers that can be followed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partition.edge.finish_times import FinishTimes
from partition.edge.offload_rule import HOPELESS, is_hopeless, patience_s
from partition.model.routes import Route

SECONDS = st.floats(0.0, 100.0)


@pytest.mark.parametrize(
    ("left_s", "finish_s", "expected_s", "waits_s"),
    [
        (0.1, 0.05, math.inf, 0.1 - 0.0605),  # the time to finish here is kept back
        (0.1, 0.45, math.inf, 0.45),  # it will be late either way
        (-0.2, 0.05, math.inf, 0.05),
        (0.1, 0.05, 0.05, 0.08),  # an answer is about to come
        (0.1, 0.05, 0.09, 0.1),
        (0.1, 0.05, 0.095, 0.1 - 0.0605),  # as likely too late as not
        (0.1, 0.05, 0.11, 0.1 - 0.0605),
        (0.1, 0.0, 0.05, 0.0995),
    ],
)
def test_how_long_a_request_waits(left_s, finish_s, expected_s, waits_s):
    assert patience_s(left_s, finish_s, expected_s) == pytest.approx(waits_s)


@given(SECONDS, SECONDS, SECONDS)
def test_nobody_waits_longer_than_the_deadline_or_than_finishing_takes(left, finish, expected):
    assert 0.0 <= patience_s(left, finish, expected) <= max(left, finish)


@given(st.lists(st.tuples(SECONDS, SECONDS, SECONDS), min_size=1, max_size=8))
def test_arrays_are_decided_as_single_requests_are(rows):
    left, finish, expected = np.array(rows).T
    together = patience_s(left, finish, expected)
    assert together.tolist() == [float(patience_s(*row)) for row in rows]
    alone = [bool(is_hopeless(row[2], w)) for row, w in zip(rows, together, strict=True)]
    assert is_hopeless(expected, together).tolist() == alone


def test_what_would_come_far_too_late_is_not_sent():
    assert is_hopeless(HOPELESS * 0.1 + 1e-6, 0.1)
    assert not is_hopeless(HOPELESS * 0.1, 0.1)


def test_finishing_is_expected_to_take_what_the_model_says_times_what_was_seen():
    now_s = 0.0
    times = FinishTimes(lambda: now_s)
    route = Route(2)
    assert times.expected_s(route, None) == 0.0
    assert times.expected_s(route, 0.4) == 0.4
    times.finished(route, took_s=0.06, modelled_s=0.05)
    assert times.expected_s(route, 0.45) == pytest.approx(1.2 * 0.45)
    assert times.expected_s(Route(3), 0.45) == 0.45


def test_that_a_board_was_slow_once_is_forgotten():
    now_s = 0.0
    times = FinishTimes(lambda: now_s)
    times.finished(Route(2), took_s=5.0, modelled_s=0.05)
    assert times.expected_s(Route(2), 0.05) == pytest.approx(5.0)
    now_s = 60.0
    assert times.expected_s(Route(2), 0.05) < 0.07


def test_without_a_model_it_takes_as_long_as_it_did():
    times = FinishTimes()
    times.finished(Route(2), took_s=0.05, modelled_s=None)
    assert times.expected_s(Route(2), None) == 0.05

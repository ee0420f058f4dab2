"""When a board knows of a change: what its readings come to, and the page."""

from __future__ import annotations

import pytest

from benchmarks.live.changes import KEY, NEVER_S, judged
from benchmarks.live.estimate_cell import Reading
from benchmarks.live.estimates import _judged
from benchmarks.live.figures import PAYLOAD
from benchmarks.live.page import changes_page


def reading(at_s, mbps, took_s=None, *, was_answered=True):
    return Reading(at_s, mbps * 1e6 * PAYLOAD, 0.05, 0.1, took_s, was_answered)


def one(seen, changes=((1.0, 5e6),)):
    return list(judged(list(changes), seen))


def test_the_request_that_meets_a_change_is_counted_and_those_that_know_are_not():
    seen = [reading(0.9, 50, 0.02), reading(1.1, 50, 0.2), reading(1.3, 5.5, 0.2)]
    assert one(seen) == [{"known_s": pytest.approx(0.3), "surprised": 1, "right_after": 1.0}]


def test_what_was_refused_at_once_was_not_sent():
    refused = reading(1.1, 50, 0.001, was_answered=False)
    late = reading(1.2, 50, 0.1, was_answered=False)
    assert one([refused, late, reading(1.3, 5)])[0]["surprised"] == 1


def test_readings_of_control_steps_tell_when_a_silent_board_knows():
    seen = [reading(1.2, 50), reading(1.45, 4.9), reading(1.7, 7), reading(1.95, 5)]
    found = one(seen)[0]
    assert (found["known_s"], found["surprised"]) == (pytest.approx(0.45), 0)
    assert found["right_after"] == pytest.approx(2 / 3)


def test_a_change_is_judged_until_the_next_one():
    changes = ((1.0, 5e6), (2.0, 50e6))
    first, second = one([reading(1.5, 50), reading(2.5, 50)], changes)
    assert first == {"known_s": NEVER_S, "surprised": 0, "right_after": 0.0}
    assert second["known_s"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("surprised", "known_s", "met"),
    [("1", "0.3", 1), ("2", "0.3", 0), ("0", "1.2", 1), ("0", "1.3", 0), ("0", "9.999", 0)],
)
def test_the_page_counts_changes_that_meet_the_bar(surprised, known_s, met):
    row = dict(zip(KEY, ("input", "50", "5", "3.5", "0"), strict=True))
    row |= {"known_s": known_s, "surprised": surprised, "right_after": "1"}
    assert f"{met} of 1 changes meet" in changes_page([row])


def test_estimates_are_judged_by_the_readings_of_control_steps():
    steps = [reading(n, 10 * (1.0 + 0.02 * (n % 2))) for n in range(44)]
    found = _judged([*steps, reading(50, 99, 0.1)], 10e6)
    assert found["median"] == pytest.approx(1.01)
    assert found["within_10"] == 1.0
    assert found["scatter"] == pytest.approx(0.0099, rel=0.01)
    assert found["age_s"] == pytest.approx(0.1)

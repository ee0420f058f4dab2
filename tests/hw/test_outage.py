from __future__ import annotations

import re

import pytest

from hw.outage import PATIENCE, QUIET_S, Outage
from tests.hw.fake.clock import FakeClock


@pytest.fixture
def told():
    return []


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def outage(told, clock):
    return Outage("reading x", "the last one stands in", "all stops", tell=told.append, clock=clock)


def test_a_single_failure_is_told_with_its_reason_and_its_end(outage, told):
    outage.failed("EIO")
    assert outage.is_on
    outage.worked()
    assert told == [
        "reading x failed: EIO; the last one stands in",
        "reading x works again after one failure",
    ]
    assert not outage.is_on


def test_a_row_of_failures_is_told_twice_whatever_its_length(outage, told):
    for _ in range(10 * PATIENCE):
        outage.failed("EIO")
    assert told == [
        "reading x failed: EIO; the last one stands in",
        f"reading x failed {PATIENCE} times in a row: EIO; all stops",
    ]
    assert outage.is_lasting
    outage.worked()
    assert not outage.is_lasting
    assert outage.n_failures == 10 * PATIENCE


def test_a_thing_that_fails_now_and_then_is_told_once_a_minute(outage, told, clock):
    for _ in range(200):
        outage.failed("EIO")
        outage.worked()
        clock.sleep(QUIET_S / 100)
    assert len([text for text in told if "failed" in text]) == 2
    assert re.search(r"\((99|100) more since the last report\)", told[2])


def test_without_a_second_step_none_is_told(told, clock):
    outage = Outage("reading x", "the last one stands in", tell=told.append, clock=clock)
    for _ in range(2 * PATIENCE):
        outage.failed("EIO")
    assert len(told) == 1
    assert outage.is_lasting

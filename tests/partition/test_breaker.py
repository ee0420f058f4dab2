from __future__ import annotations

import pytest

from partition.edge.breaker import CircuitBreaker
from tests.hw.fake.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def breaker(clock):
    return CircuitBreaker(clock)


def test_it_lets_everything_through_until_something_fails(breaker):
    assert breaker.check() is None


def test_an_open_one_waits_for_a_probe_however_long_that_takes(breaker, clock):
    breaker.open("unreachable")
    clock.sleep(1e6)
    assert "unreachable" in breaker.check()
    assert "probe" in breaker.check()
    breaker.close()
    assert breaker.check() is None


def test_pauses_grow_to_half_a_second_and_shrink_with_success(breaker, clock):
    pauses_s = []
    for _ in range(7):
        breaker.pause("busy")
        start_s = clock()
        while breaker.check():
            clock.sleep(0.005)
        pauses_s.append(clock() - start_s)
    assert pauses_s == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.5, 0.5, 0.5], abs=0.011)
    breaker.close()
    breaker.pause("busy")
    clock.sleep(0.06)
    assert breaker.check() is None


def test_a_pause_does_not_end_the_wait_for_a_probe(breaker, clock):
    breaker.open("late")
    breaker.pause("busy")
    clock.sleep(1.0)
    assert breaker.check()

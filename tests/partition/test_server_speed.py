"""How fast the server is taken to be, from what its replies say."""

from __future__ import annotations

import pytest

from partition.edge.server_speed import FASTEST, FORGETTING_S, SLOWEST, ServerSpeed


@pytest.fixture
def whole(tiny):
    return tiny.split_points[0]


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def speed(tiny, clock):
    return ServerSpeed(tiny, clock)


def test_before_any_reply_it_is_as_fast_as_usual(speed):
    assert speed.flops_per_s(150e9) == 150e9


def test_a_reply_shows_how_fast_it_would_be_idle(speed, whole):
    speed.answered(whole, compute_s=whole.tail.flops / 10e9, load=0.5)
    assert speed.flops_per_s(150e9) == pytest.approx(20e9)


def test_one_slow_reply_is_a_moment_and_many_are_a_slow_server(speed, whole):
    fast_s, slow_s = (whole.tail.flops / flops_per_s for flops_per_s in (100e9, 10e9))
    for _ in range(20):
        speed.answered(whole, fast_s, 0.0)
    speed.answered(whole, slow_s, 0.0)
    assert speed.flops_per_s(1e9) > 50e9
    for _ in range(20):
        speed.answered(whole, slow_s, 0.0)
    assert speed.flops_per_s(1e9) == pytest.approx(10e9, rel=0.01)


def test_what_was_seen_fades_while_nothing_is_sent(speed, whole, clock):
    speed.answered(whole, whole.tail.flops / 1e9, 0.0)
    clock.now_s = FORGETTING_S
    assert 1e9 < speed.flops_per_s(100e9) < 100e9
    clock.now_s = 100 * FORGETTING_S
    assert speed.flops_per_s(100e9) == pytest.approx(100e9)


def test_the_usual_time_of_a_split_point_fades_while_it_is_not_asked(speed, whole, tiny, clock):
    """A server that was too slow once would else never be asked again."""
    assert speed.usual_s(whole) is None
    speed.answered(whole, 1.0, 0.0)
    speed.answered(whole, 2.0, 0.0)
    assert speed.usual_s(whole) == pytest.approx(1.3)
    assert speed.usual_s(tiny.split_points[-1]) is None
    clock.now_s = 3 * FORGETTING_S
    assert speed.usual_s(whole) < 0.1


def test_an_unasked_split_point_takes_what_its_work_does(speed, whole, tiny, clock):
    """Nothing is known, then what the server is taken for, then what other replies showed."""
    inner = tiny.split_points[1]
    assert speed.expected_s(inner) is None
    speed.flops_per_s(100e9)
    assert speed.expected_s(inner) == pytest.approx(inner.tail.flops / 100e9)
    speed.answered(whole, whole.tail.flops / 1e9, 0.5)  # 2 GFLOP/s without its load
    assert speed.expected_s(inner) == pytest.approx(inner.tail.flops / 1e9)
    assert speed.expected_s(whole) == pytest.approx(whole.tail.flops / 1e9)
    clock.now_s = 100 * FORGETTING_S  # as fast as usual again, as loaded as before
    assert speed.expected_s(whole) == pytest.approx(2.0 * whole.tail.flops / 100e9)


def test_little_work_says_nothing_of_the_speed(speed, tiny):
    last = tiny.split_points[-1]
    assert last.tail.flops == 0
    speed.answered(last, 0.001, 0.0)
    assert speed.flops_per_s(150e9) == 150e9


@pytest.mark.parametrize(("compute_s", "load"), [(0.0, 0.0), (1e-300, 0.0), (1e300, 1.0)])
def test_a_server_that_lies_is_bounded(speed, whole, compute_s, load):
    for _ in range(100):
        speed.answered(whole, compute_s, load)
    assert SLOWEST * 0.99 <= speed.flops_per_s(150e9) <= FASTEST * 1.01

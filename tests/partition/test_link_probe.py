"""When trains of messages are sent, and how many, over a simulated link."""

from __future__ import annotations

import pytest

from partition.edge.link_probe import TRAIN_PERIOD_S, LinkProbe
from partition.transport.link_estimator import LinkEstimate
from partition.transport.packet_train import PAIR
from tests.hw.fake.clock import FakeClock

RTT_S = 0.02
TRAIN_MESSAGES = 5


class Call:
    """A message that was answered, or has failed."""

    def __init__(self, clock, took_s, failed):
        self._clock, self._took_s, self._failed = clock, took_s, failed

    def cancelled(self):
        return False

    def exception(self):
        return OSError() if self._failed else None

    def add_done_callback(self, callback):
        self._clock.sleep(self._took_s)
        callback(self)


class Link:
    """Answers messages at a rate, one after the other."""

    def __init__(self, rate_bps):
        self.clock = FakeClock()
        self.rate_bps, self.fails = rate_bps, False
        self.sizes, self.ends = [], []
        self.n_at_once = 0
        """Messages of a train that are held up and then answered nearly at once."""
        self.probe = LinkProbe(self._send, lambda seen, call: self.ends.append(seen), self.clock)

    def _send(self, message):
        self.sizes.append(len(message))
        took_s = 8 * (len(message) + 180) / self.rate_bps
        if self.n_at_once and len(message) != PAIR.message_bytes:
            self.n_at_once, took_s = self.n_at_once - 1, took_s / 4.0
        return Call(self.clock, took_s, self.fails)

    def measure(self, believed_bps):
        """What a measurement shows, Mbit/s, and how many bytes it takes."""
        self.sizes.clear()
        self.ends.clear()
        self.probe.begin(LinkEstimate(believed_bps, RTT_S, 0.0, 0.0))
        (seen,) = self.ends
        return [spread.rate_bps / 1e6 for spread in seen], sum(self.sizes)


def test_a_link_that_is_as_believed_gets_one_train():
    shown, n_bytes = Link(10e6).measure(10e6)
    assert shown == pytest.approx([10.0], rel=0.15)
    assert n_bytes <= 10e6 * 0.01 / 8


@pytest.mark.parametrize(("is_bps", "believed_bps"), [(5e6, 50e6), (2e6, 20e6)])
def test_a_slower_link_is_shown_twice(is_bps, believed_bps):
    shown, n_bytes = Link(is_bps).measure(believed_bps)
    assert len(shown) == 2
    assert shown == pytest.approx([is_bps / 1e6] * 2, rel=0.2)
    # Not even the first train holds the slow link up for long.
    assert n_bytes * 8 / is_bps < 0.12


@pytest.mark.parametrize(("is_bps", "believed_bps"), [(50e6, 5e6), (20e6, 2e6)])
def test_a_faster_link_gets_a_train_of_its_own_length(is_bps, believed_bps):
    link = Link(is_bps)
    shown, _ = link.measure(believed_bps)
    assert len(shown) == 2
    assert link.sizes[-1] * 5 == pytest.approx(3 * believed_bps * 0.01 / 8, rel=0.1)


def test_what_a_request_showed_needs_only_to_be_confirmed():
    link = Link(5e6)
    assert link.probe.surprised(5.5e6)
    shown, n_bytes = link.measure(50e6)
    assert len(shown) == 1
    assert n_bytes < 8_000
    assert PAIR.message_bytes not in link.sizes[:2]


def test_below_the_bound_of_a_late_request_one_train_is_enough():
    link = Link(2e6)
    assert link.probe.surprised(12e6, is_bound=True)
    assert len(link.measure(50e6)[0]) == 1


def test_a_late_request_that_was_held_up_by_something_else_is_found_out():
    link = Link(50e6)
    assert link.probe.surprised(5e6, is_bound=True)
    shown, _ = link.measure(50e6)
    assert shown[-1] == pytest.approx(50.0, rel=0.1)


@pytest.mark.parametrize("n_trains", [1, 2])
def test_a_train_that_was_held_up_counts_for_nothing_once_the_next_shows_it(n_trains):
    link = Link(10e6)
    link.n_at_once = n_trains * TRAIN_MESSAGES
    shown, _ = link.measure(10e6)
    if n_trains == 1:
        assert shown == pytest.approx([10.0], rel=0.15)
    else:  # two that agree are believed; the next ones correct it
        assert shown == pytest.approx([40.0, 40.0], rel=0.3)


def test_trains_beyond_one_a_second_are_paid_for_later():
    link = Link(10e6)
    n_trains, began_s = 0, link.clock()
    while link.clock() < began_s + 30.0:
        link.probe.surprised(1e6)  # all the time
        if link.probe.is_due:
            n_trains += len(link.measure(1e6 if n_trains % 2 else 100e6)[0])
        link.clock.sleep(0.25)
    assert n_trains <= 30.0 / TRAIN_PERIOD_S + 5


def test_a_control_step_that_comes_late_does_not_put_off_the_next_train():
    link = Link(10e6)
    times_s, began_s = [], link.clock()
    while link.clock() < began_s + 30.0:
        if link.probe.is_due:
            times_s.append(link.clock())
            link.measure(10e6)
        link.clock.sleep(0.24)
    assert len(times_s) == pytest.approx(30, abs=2)


def test_a_message_that_fails_ends_the_measurement():
    link = Link(10e6)
    link.fails = True
    assert link.measure(10e6)[0] == []

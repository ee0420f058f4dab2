"""The estimate of the link, from simulated transfers with noise."""

from __future__ import annotations

import numpy as np
import pytest

from partition.transport.link_estimator import LinkEstimator
from partition.transport.packet_train import Spread, Train
from tests.hw.fake.clock import FakeClock

RTT_S = 0.02
CLOSE = 0.25


class SimulatedLink:
    """Transfers over a link with 5 % scatter, and pauses of 50 ms in 3 % of them."""

    def __init__(self, rate_bps, *, rtt_s=RTT_S, seed=0, scatter=0.05, pauses=0.03):
        self.clock = FakeClock()
        self.estimator = LinkEstimator(self.clock)
        self.rate_bps, self.rtt_s = rate_bps, rtt_s
        self.scatter, self.pauses = scatter, pauses
        self.random = np.random.default_rng(seed)

    def send(self, n_bytes, gap_s=0.1):
        needed_s = (self.rtt_s + 8 * n_bytes / self.rate_bps) * np.exp(
            self.scatter * self.random.normal()
        )
        if self.random.random() < self.pauses:
            needed_s += self.random.exponential(0.05)
        self.clock.sleep(needed_s + gap_s)
        self.estimator.transferred(n_bytes, needed_s)

    def is_right(self):
        return abs(self.estimator.estimate().rate_bps / self.rate_bps - 1) < CLOSE


def share_right(rates_bps, n_bytes, n_after, **options):
    """How often the estimate is right after so many transfers behind a step of the rate."""
    right = []
    for seed in range(40):
        link = SimulatedLink(rates_bps[0], seed=seed, **options)
        for _ in range(3):
            link.send(24)
        for _ in range(20):
            link.send(n_bytes)
        link.rate_bps = rates_bps[1]
        for _ in range(n_after):
            link.send(n_bytes)
        right.append(link.is_right())
    return np.mean(right)


def test_nothing_is_known_before_the_first_transfer_that_tells_the_rate():
    link = SimulatedLink(8e6, pauses=0.0)
    assert link.estimator.estimate() is None
    link.send(24)
    assert link.estimator.estimate() is None
    link.send(20_000)
    assert link.is_right()


def test_a_probe_is_not_misled_by_what_else_the_machine_does():
    clock = FakeClock()
    estimator = LinkEstimator(clock)
    pauses_s = iter([0.05, 0.0, 0.1, 0.3, 0.2, 0.0])

    def send(message):
        clock.sleep(RTT_S + 8 * len(message) / 20e6 + next(pauses_s))

    assert estimator.probe(send, 0, tries=3) == pytest.approx(RTT_S)
    assert estimator.probe(send, 100_000, tries=3) == pytest.approx(RTT_S + 0.04)
    assert estimator.estimate().rate_bps == pytest.approx(20e6, rel=0.05)
    assert estimator.estimate().rtt_s == pytest.approx(RTT_S)


@pytest.mark.parametrize("rate_bps", [0.5e6, 2e6, 10e6, 50e6, 200e6])
@pytest.mark.parametrize("rtt_s", [0.001, 0.02])
def test_rate_and_round_trip_are_found_from_a_few_transfers(rate_bps, rtt_s):
    link = SimulatedLink(rate_bps, rtt_s=rtt_s)
    for _ in range(5):
        link.send(24)
        link.send(max(int(rate_bps * rtt_s / 8), 20_000))
    estimate = link.estimator.estimate(0.3)
    assert link.is_right()
    assert estimate.rtt_s == pytest.approx(rtt_s, rel=0.2)
    assert estimate.confidence > 0.5
    assert estimate.server_load == 0.3


@pytest.mark.parametrize(
    "rates_bps", [(50e6, 0.5e6), (0.5e6, 20e6), (10e6, 2e6), (2e6, 10e6), (4e6, 2e6), (4e6, 8e6)]
)
@pytest.mark.parametrize("n_bytes", [60_000, 150_000])
def test_a_step_of_the_rate_is_recognised_within_three_requests(rates_bps, n_bytes):
    assert share_right(rates_bps, n_bytes, 3) >= 0.95


def test_small_messages_tell_as_much_as_they_can():
    # 8 kB at 2 Mbit/s: 32 ms beside a round trip of 20 ms.
    assert share_right((1e6, 2e6), 8_000, 3) >= 0.9
    # 1 kB at 50 Mbit/s drowns in the round trip, but after 0.5 Mbit/s it must tell "much faster".
    link = SimulatedLink(0.5e6)
    for _ in range(20):
        link.send(24)
        link.send(1_000)
    link.rate_bps = 50e6
    for _ in range(5):
        link.send(1_000)
    assert link.estimator.estimate().rate_bps > 2e6


def test_one_pause_is_no_step():
    link = SimulatedLink(10e6, pauses=0.0)
    for _ in range(10):
        link.send(60_000)
    link.estimator.transferred(60_000, 1.0)
    assert link.is_right()
    link.send(60_000)
    assert link.is_right()


def test_a_longer_way_is_found_by_small_messages_and_not_taken_for_a_slower_rate():
    link = SimulatedLink(10e6)
    for _ in range(10):
        link.send(24)
        link.send(60_000)
    link.rtt_s = 0.1
    for _ in range(4):
        link.send(24)
    link.send(60_000)
    assert link.estimator.estimate().rtt_s == pytest.approx(0.1, rel=0.2)
    assert link.is_right()


def test_confidence_falls_with_age_and_after_a_surprise():
    link = SimulatedLink(10e6, pauses=0.0)
    for _ in range(10):
        link.send(60_000)
    sure = link.estimator.estimate()
    link.clock.sleep(10.0)
    old = link.estimator.estimate()
    assert old.confidence < 0.5 * sure.confidence
    assert old.age_s == pytest.approx(sure.age_s + 10.0)
    link.send(60_000)
    link.rate_bps = 2e6
    link.send(60_000)
    assert link.estimator.estimate().confidence < 0.8 * sure.confidence


def test_the_most_that_a_link_may_be_is_near_while_it_is_certain():
    shares = []
    for seed in range(100):
        link = SimulatedLink(8e6, seed=seed)
        for n_bytes in (24, 24, 24, *[50_000] * 12):
            link.send(n_bytes)
        shares.append(link.estimator.estimate().most_bps / 8e6)
    assert np.mean(np.array(shares) > 1.0) > 0.85
    assert np.median(shares) < 1.35


def test_after_a_surprise_the_link_may_still_be_what_it_was():
    link = SimulatedLink(8e6, pauses=0.0)
    for n_bytes in (24, 24, 24, *[50_000] * 12):
        link.send(n_bytes)
    link.rate_bps = 6e6
    link.send(50_000)
    assert link.estimator.estimate().most_bps > 8e6


class TestLateReplies:
    """What a reply that did not come in time says about the link."""

    @pytest.fixture
    def link(self):
        link = SimulatedLink(8e6, pauses=0.0)
        for _ in range(3):
            link.send(24)
        for _ in range(10):
            link.send(100_000)
        return link

    def test_a_few_bring_the_rate_below_what_the_deadline_allowed(self, link):
        for _ in range(3):
            link.estimator.missed(100_000, 0.5)
        assert link.estimator.estimate().rate_bps < 8 * 100_000 / (0.5 - RTT_S) * 1.1

    def test_one_that_was_to_be_expected_tells_nothing(self, link):
        link.estimator.missed(100_000, 0.01)
        assert link.is_right()

    def test_answers_in_time_bring_the_rate_back(self, link):
        for _ in range(5):
            link.estimator.missed(100_000, 0.5)
        for _ in range(3):
            link.send(100_000)
        assert link.is_right()


def test_a_rate_beyond_every_network_is_not_believed():
    link = SimulatedLink(1e12, rtt_s=0.0003)
    for _ in range(20):
        link.send(24)
        link.send(400_000)
    assert 1e9 < link.estimator.estimate().rate_bps <= 1e10


def test_many_transfers_are_taken_in_even_if_nobody_asks():
    link = SimulatedLink(8e6)
    for _ in range(1000):
        link.send(50_000)
    assert len(link.estimator._pending) < 100
    assert link.is_right()


class TestTrains:
    """Messages that arrive one after the other show the rate, whatever the round trip."""

    def arrivals(self, train, rate_bps, rtt_s, packets=10):
        """As TCP sends them after a pause: some packets, each round trip twice as many."""
        left, window, sent_s, link_s, arrived_s = packets, packets, 0.0, 0.0, []
        for _ in range(train.n_messages):
            rest = train.message_bytes + 70
            while rest > 0:
                if left == 0:
                    sent_s += rtt_s
                    window *= 2
                    left = window
                left -= 1
                link_s = max(link_s, sent_s) + 8 * (min(rest, 1448) + 52) / rate_bps * 1448 / 1500
                rest -= 1448
            arrived_s.append(link_s + rtt_s)
        return arrived_s

    def seen(self, link, bits, scatter):
        """A train over the link, whose time scatters."""
        elapsed_s = bits / link.rate_bps * np.exp(scatter * link.random.normal())
        return Spread(bits, elapsed_s, link.rtt_s, link.clock())

    @pytest.mark.parametrize("rate_bps", [2e6, 10e6, 50e6, 200e6])
    @pytest.mark.parametrize("rtt_s", [0.0035, 0.045])
    def test_they_show_the_rate_through_the_gaps_of_a_slow_start(self, rate_bps, rtt_s):
        train = Train.planned(rate_bps)
        spread = train.spread(0.0, self.arrivals(train, rate_bps, rtt_s))
        assert spread.rate_bps == pytest.approx(rate_bps, rel=0.25)
        assert train.n_bytes <= max(1.02 * rate_bps * 0.01 / 8, 3_000)

    def test_messages_that_end_in_a_sooner_or_later_packet_are_no_gaps_of_tcps(self):
        """Two and a half packets each: two or three arrive between two answers."""
        train = Train(5, 3_600)
        arrived_s = self.arrivals(train, 10e6, 0.0035, packets=100)
        assert train.spread(0.0, arrived_s).rate_bps == pytest.approx(10e6, rel=0.12)
        uneven_s = [0.010, 0.0112, 0.0136, 0.0148, 0.0172]
        spread = Train(5, 2_400).spread(0.0, uneven_s)
        assert spread.elapsed_s == pytest.approx(uneven_s[-1] - uneven_s[0], rel=0.05)

    def test_the_first_answer_wakes_the_threads_on_its_way(self):
        train = Train(5, 12_000)
        late_s = [0.0002, 0.002, 0.004, 0.006, 0.008]
        assert train.spread(0.0, late_s).elapsed_s == pytest.approx(0.008)

    def test_an_idle_board_knows_the_rate_of_a_link_with_a_long_round_trip(self):
        link = SimulatedLink(50e6, rtt_s=0.045)
        link.send(24)
        for _ in range(10):
            link.clock.sleep(1.0)
            link.estimator.spread(self.seen(link, 5e5, 0.1))
        assert link.estimator.estimate().rate_bps == pytest.approx(50e6, rel=0.1)

    def test_what_requests_take_beyond_their_bits_is_not_taken_for_a_slower_link(self):
        """A 16 kB request that waits for an acknowledgement, three times a second."""
        link = SimulatedLink(20e6, rtt_s=0.045, pauses=0.0)
        link.send(24)
        for _ in range(15):
            link.estimator.spread(self.seen(link, 2e5, 0.05))
            for _ in range(3):
                link.clock.sleep(0.35)
                took_s = (0.084 + 8 * 16_384 / 20e6) * np.exp(0.02 * link.random.normal())
                link.estimator.transferred(16_384, took_s)
        assert link.estimator.estimate().rate_bps == pytest.approx(20e6, rel=0.1)
        assert link.estimator.excess_s(16_384) == pytest.approx(0.039, rel=0.15)
        assert link.estimator.excess_s(150_000) == 0.0

    @pytest.mark.parametrize("n_bytes", [16_384, 31_744, 75_520, 150_616])
    def test_requests_after_a_pause_say_nothing_of_the_others(self, n_bytes):
        """Of requests at random moments, some find a connection that begins anew."""
        link, right = SimulatedLink(45e6, rtt_s=0.005, pauses=0.0), []
        link.send(24)
        for n in range(300):
            if n % 7 == 0:
                link.estimator.spread(self.seen(link, 3e5, 0.05))
            pause_s = link.random.exponential(0.1)
            link.clock.sleep(pause_s)
            took_s = 0.005 + 8 * n_bytes / 45e6 + (0.006 if pause_s > 0.2 else 0.0)
            took_s *= np.exp(0.03 * link.random.normal())
            link.clock.sleep(took_s)
            link.estimator.transferred(n_bytes, took_s)
            right.append(abs(link.estimator.estimate().rate_bps / 45e6 - 1))
        assert np.median(right) < 0.1
        assert np.mean(np.array(right) < CLOSE) > 0.9

    def test_a_slower_link_does_not_pass_for_an_excess(self):
        link = SimulatedLink(50e6, rtt_s=0.0035, pauses=0.0)
        link.send(24)
        for _ in range(10):
            link.estimator.spread(self.seen(link, 5e5, 0.0))
            link.send(150_000)
        link.rate_bps = 5e6
        link.send(150_000)
        assert link.estimator.excess_s(150_000) < 0.02
        link.estimator.spread(self.seen(link, 1e5, 0.0))
        assert link.is_right()

    def test_answers_that_were_held_up_together_say_little(self):
        """A server that paused answers all of a train at once."""
        link = SimulatedLink(10e6, rtt_s=0.0035, pauses=0.0)
        link.send(24)
        for n in range(12):
            link.clock.sleep(1.0)
            bunched = n % 3 == 2
            elapsed_s = 0.001 if bunched else 0.01
            link.estimator.spread(Spread(1e5, elapsed_s, 0.0035 + 0.009 * bunched, 0.0))
        assert link.estimator.estimate().rate_bps == pytest.approx(10e6, rel=0.1)


def test_a_deadline_that_is_too_short_for_the_link_shows_nothing_of_it():
    link = SimulatedLink(50e6, rtt_s=0.045, pauses=0.0)
    for n_bytes in (24, 24, 24, *[150_000] * 20):
        link.send(n_bytes)
    before = link.estimator.estimate()
    for _ in range(20):
        link.clock.sleep(0.035)
        link.estimator.missed(150_000, 0.035)
    after = link.estimator.estimate()
    assert after.rate_bps == before.rate_bps
    assert after.confidence > 0.9 * before.confidence
    link.estimator.missed(150_000, 0.35)
    assert link.estimator.estimate().confidence < before.confidence

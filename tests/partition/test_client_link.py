"""What the client learns about the link over real connections, and in the background."""

from __future__ import annotations

import time
from dataclasses import replace

import grpc
import pytest

from partition.codec.codec import Codec
from partition.edge import link_probe
from partition.edge.client import CloudClient
from partition.errors import CloudUnavailableError, DeadlineExceededError, HopelessError
from partition.server.cloud_server import CloudServer
from partition.transport import wire
from partition.transport.packet_train import PAIR, Spread, Train

DEADLINE_S = 5.0


@pytest.fixture
def now_s():
    return [100.0]


@pytest.fixture
def client(tiny, server, now_s):
    with CloudClient(f"127.0.0.1:{server.port}", tiny, clock=lambda: now_s[0]) as client:
        yield client


@pytest.fixture
def encoded(tiny, runtime, image):
    """The whole input, as it crosses."""
    return tuple(Codec().encode(t) for t in runtime.head(tiny.split_points[0], (image,)))


def wait_for(condition):
    give_up_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.002)


def refresh(client):
    client.refresh()
    wait_for(lambda: not client._refreshing)


class _Late(grpc.RpcError):
    """A call whose deadline passed."""

    def code(self):
        return grpc.StatusCode.DEADLINE_EXCEEDED

    def details(self):
        return "late"


def too_late(message, timeout, metadata):
    raise _Late


def know(client, rate_bps=8e6, rtt_s=0.02):
    """Let the client know a link."""
    for size in (24, 24, 100_000, 100_000):
        client._estimator.transferred(size, rtt_s + 8 * size / rate_bps)


def test_the_link_is_unknown_until_probed(tiny, server):
    with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
        assert client.link is None
        estimate = client.probe()
        assert estimate == replace(
            client.link, age_s=estimate.age_s, confidence=estimate.confidence
        )
        assert 1e6 < estimate.rate_bps <= 1e10
        assert 0 < estimate.rtt_s < 1
        assert estimate.age_s < 1
        assert 0 < estimate.confidence <= 1


def test_requests_tell_the_rate_without_any_probe(tiny, server, encoded):
    with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
        for _ in range(3):
            client.infer(tiny.split_points[0], encoded, DEADLINE_S)
        assert 1e6 < client.link.rate_bps <= 1e10


def test_late_replies_lower_the_rate(tiny, client, encoded, monkeypatch):
    know(client)
    client._stub.infer = too_late
    client._server_speed.answered(tiny.split_points[0], 0.001, 0.0)
    monkeypatch.setattr(client._link_probe, "surprised", lambda *_, **__: False)
    for _ in range(4):
        with pytest.raises(DeadlineExceededError):
            client.infer(tiny.split_points[0], encoded, 0.04)
        client._standing.breaker.close()
    assert client.link.rate_bps < 0.8 * 8e6


def test_a_late_reply_of_a_server_that_never_answered_lets_the_link_be_measured(
    tiny, client, encoded
):
    know(client)
    before = client.link.rate_bps
    client._stub.infer = too_late
    with pytest.raises(DeadlineExceededError):
        client.infer(tiny.split_points[0], encoded, 0.12)
    wait_for(lambda: not client._refreshing)
    assert client.link.rate_bps > 0.9 * before


def test_after_a_late_answer_nothing_is_sent_until_the_link_is_measured(
    tiny, client, encoded, monkeypatch
):
    """The request would be late as well, and be in the way of what measures."""
    monkeypatch.setattr(link_probe, "SURPRISE", float("inf"))
    client.infer(tiny.split_points[0], encoded, DEADLINE_S)
    wait_for(lambda: not client._refreshing)
    know(client, rate_bps=50e6)
    infer, client._stub.infer = client._stub.infer, too_late
    echo, client._stub.echo = client._stub.echo, _Pending()
    with pytest.raises(DeadlineExceededError, match="did not answer"):
        client.infer(tiny.split_points[0], encoded, 0.1)
    client._stub.infer = infer
    wait_for(lambda: client._standing.breaker.check() is None)
    with pytest.raises(DeadlineExceededError, match="how fast it is reached"):
        client.infer(tiny.split_points[0], encoded, DEADLINE_S)
    client._stub.echo.finish(b"nonsense")  # however the measurement ends
    client._stub.echo = echo
    wait_for(lambda: client._standing.breaker.check() is None)
    client.infer(tiny.split_points[0], encoded, DEADLINE_S)


def test_a_late_answer_that_was_to_be_expected_brings_no_measurement(
    tiny, client, encoded, monkeypatch
):
    know(client, rate_bps=1e6)
    monkeypatch.setattr(client, "check", lambda *_: None)
    client._stub.infer = too_late
    client._link_probe._due_s = client._clock() + 1.0
    with pytest.raises(DeadlineExceededError, match="did not answer"):
        client.infer(tiny.split_points[0], encoded, 0.05)
    assert not client._doubts
    assert not client._link_probe.is_due


@pytest.mark.parametrize(("took_s", "surprises"), [(0.0473, False), (0.05, False), (0.074, True)])
def test_a_request_surprises_by_the_time_of_its_bits_not_by_the_round_trip(
    client, took_s, surprises
):
    know(client, rate_bps=50e6, rtt_s=0.045)
    client._link_probe._due_s = client._clock() + 1.0
    client._transferred(16_384, took_s)
    assert client._link_probe.is_due == surprises


def test_what_cannot_be_in_time_is_not_sent(tiny, client, encoded, now_s):
    client._stub.infer = too_late
    know(client, rate_bps=1e5)
    start_s = time.monotonic()
    with pytest.raises(DeadlineExceededError, match="would take"):
        client.infer(tiny.split_points[0], encoded, 0.1)
    assert time.monotonic() - start_s < 0.05
    wait_for(lambda: not client._refreshing)
    know(client, rate_bps=1e9)
    now_s[0] += 1.0
    with pytest.raises(DeadlineExceededError, match="did not answer"):
        client.infer(tiny.split_points[0], encoded, 0.1)


@pytest.mark.parametrize(("most_bps", "is_sent"), [(2e6, False), (20e6, True)])
def test_over_an_uncertain_link_what_cannot_be_in_time_at_best_is_not_sent(
    tiny, client, encoded, monkeypatch, most_bps, is_sent
):
    know(client)
    sent, uncertain = [], replace(client.link, confidence=0.2, most_bps=most_bps)
    monkeypatch.setattr(client, "_recent_link", lambda: uncertain)
    monkeypatch.setattr(client, "refresh", lambda: sent.append("a train"))
    if is_sent:
        client.check(tiny.split_points[0], 100_000, 0.1)
        return
    with pytest.raises(DeadlineExceededError, match="would take"):
        client.check(tiny.split_points[0], 100_000, 0.1)
    with pytest.raises(HopelessError, match="would take"):
        client.infer(tiny.split_points[0], encoded, 0.01)
    assert not sent  # the request is to be answered first


class TestRefresh:
    """The measurement in the background while nothing is sent."""

    @pytest.fixture
    def sizes(self, client, monkeypatch):
        """Bytes of each message that measures."""
        seen, echo = [], client._echo

        def counted(message):
            seen.append(len(message))
            return echo(message)

        monkeypatch.setattr(client, "_echo", counted)
        monkeypatch.setattr(client._link_probe, "_send", counted)
        # The clock stands still, as if all messages came at once.
        monkeypatch.setattr(link_probe, "SURPRISE", float("inf"))
        return seen

    def test_the_first_one_finds_the_link(self, client):
        assert client.link is None
        refresh(client)
        assert client.link.rate_bps > 0
        assert client.link.age_s == 0.0

    def test_a_rate_is_measured_once_a_second_and_the_round_trip_each_time(
        self, client, now_s, sizes
    ):
        know(client)
        trains = []
        for wait_s in (0.5, 0.5, 0.5, 0.25, 0.75):
            sizes.clear()
            now_s[0] += wait_s
            refresh(client)
            assert sizes[0] == 0
            trains.append(sum(sizes) > 0)
        assert trains == [True, False, True, False, True]

    @pytest.mark.parametrize("rate_bps", [0.3e6, 4e6, 50e6])
    def test_a_train_takes_a_hundredth_of_the_link_or_three_kilobytes(
        self, client, sizes, rate_bps, monkeypatch
    ):
        know(client, rate_bps)
        monkeypatch.setattr(link_probe, "GROWTH", 1e6)  # here a pair is slow for other reasons
        refresh(client)
        allowed = max(0.01 * rate_bps / 8, 3_000)
        assert 0.7 * allowed < sum(sizes) < 1.3 * allowed + 2 * PAIR.message_bytes

    def test_a_link_that_became_slow_is_not_held_up_by_a_train_for_the_fast_one(
        self, client, sizes, now_s
    ):
        know(client, rate_bps=200e6)
        client._link_probe._after_pair(
            Train.planned(200e6),
            lambda spread, call: client._trains_ended([spread], call),
            Spread(2 * 12_000, 0.024, 0.02, 0.0),
            None,
        )
        wait_for(lambda: not client._refreshing)
        assert sum(sizes) <= 1.2 * 8 * 1e6 * 0.01 / 8

    def test_a_request_among_the_messages_spoils_a_train_and_one_behind_them_does_not(
        self, client, now_s
    ):
        know(client)
        spread, answered = (
            Spread(1e5, 0.01, waited_s=0.02, began_s=100.0),
            client._stub.echo.future(b""),
        )
        for sent_s, is_taken in ((100.005, False), (100.02, True), (99.0, True)):
            now_s[0] += 1.0
            before = client._estimator._train_s
            client._sent_s = sent_s
            client._trains_ended([spread], answered)
            assert client.link is not None  # takes in what is noted
            assert (client._estimator._train_s > before) == is_taken

    def test_a_server_without_room_for_a_train_is_spared_some(self, client, now_s):
        know(client)

        class Full(grpc.RpcError):
            def cancelled(self):
                return False

            def code(self):
                return grpc.StatusCode.RESOURCE_EXHAUSTED

        client._trains_ended([], Full())
        assert client._standing.is_reachable  # for requests there may be room
        now_s[0] += 9.0
        assert not client._link_probe.is_due
        now_s[0] += 1.5
        assert client._link_probe.is_due

    def test_it_learns_the_servers_load(self, client):
        client._server_load = 1.0
        refresh(client)
        assert client.link.server_load < 1.0

    def test_it_returns_at_once_and_only_one_is_under_way(self, client, sizes):
        client._stub.echo = _Pending()
        for _ in range(3):
            client.refresh()
        assert len(client._stub.echo.calls) == 1
        client._link_probe._due_s = client._clock() + 1.0
        client._stub.echo.finish(wire.pack_echo(0.5))
        client.refresh()
        assert len(client._stub.echo.calls) == 2

    def test_nothing_is_measured_while_a_request_is_under_way(self, client):
        client._stub.echo = _Pending()
        client._turns.n_taken = 1
        client.refresh()
        assert client._stub.echo.calls == []

    def test_a_dead_server_makes_the_link_unknown_until_it_answers(self, tiny, runtime):
        server = CloudServer(tiny, runtime)
        address = f"127.0.0.1:{server.port}"
        with CloudClient(address, tiny) as client:
            with server:
                client.probe()
            refresh(client)
            assert client.link is None
            with CloudServer(tiny, runtime, address):
                wait_for(lambda: client.link is not None)

    def test_a_broken_answer_makes_the_link_unknown(self, client):
        client.probe()
        client._stub.echo = _Pending()
        client.refresh()
        client._stub.echo.finish(b"nonsense")
        assert client.link is None
        assert not client._refreshing


class _Pending:
    """A remote method whose calls end when told."""

    def __init__(self):
        self.calls, self.callbacks = [], []

    def future(self, message, timeout, metadata):
        self.calls.append(message)
        return self

    def add_done_callback(self, callback):
        self.callbacks.append(callback)

    def cancelled(self):
        return False

    def exception(self):
        return None

    def code(self):
        return grpc.StatusCode.OK

    def finish(self, answer):
        self.result = lambda: answer
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback(self)


class TestBreaker:
    """A dead server costs one failure, is asked in the background, and is found again."""

    def test_a_dead_server_is_left_alone_and_found_within_a_second_of_its_return(
        self, tiny, runtime, encoded
    ):
        point = tiny.split_points[0]
        with CloudServer(tiny, runtime) as server:
            address = f"127.0.0.1:{server.port}"
            client = CloudClient(address, tiny)
            client.infer(point, encoded, DEADLINE_S)
            wait_for(lambda: not client._refreshing)
        with client:
            with pytest.raises(CloudUnavailableError, match="no cloud server"):
                client.infer(point, encoded, DEADLINE_S)
            time.sleep(1.0)
            start_s = time.monotonic()
            with pytest.raises(CloudUnavailableError, match="a moment ago"):
                client.infer(point, encoded, DEADLINE_S)
            assert time.monotonic() - start_s < 0.05
            with CloudServer(tiny, runtime, address):
                back_s = time.monotonic()
                wait_for(lambda: client._standing.breaker.check() is None)
                assert time.monotonic() - back_s < 1.0
                client.infer(point, encoded, DEADLINE_S)

    def test_a_late_reply_opens_it_until_the_server_answers_a_probe(self, tiny, client, encoded):
        infer, client._stub.infer = client._stub.infer, too_late
        with pytest.raises(DeadlineExceededError):
            client.infer(tiny.split_points[0], encoded, 0.1)
        client._stub.infer = infer
        wait_for(lambda: client._standing.breaker.check() is None and not client._refreshing)
        client.infer(tiny.split_points[0], encoded, DEADLINE_S)

    def test_a_broken_connection_is_tried_once_more(self, tiny, client, encoded):
        infer, calls = client._stub.infer, []

        def breaks_once(message, timeout, metadata):
            calls.append(message)
            if len(calls) == 1:
                raise _Gone
            return infer(message, timeout=timeout, metadata=metadata)

        client._stub.infer = breaks_once
        reply = client.infer(tiny.split_points[0], encoded, DEADLINE_S)
        assert len(calls) == 2
        assert calls[0] == calls[1]  # one request, one id
        assert reply.outputs[0].shape == (1, tiny.n_classes)

    def test_but_not_without_the_time_for_it_and_not_twice(self, tiny, client, encoded):
        calls = []

        def breaks(message, timeout, metadata):
            calls.append(message)
            raise _Gone

        client._stub.infer = breaks
        with pytest.raises(CloudUnavailableError):
            client.infer(tiny.split_points[0], encoded, DEADLINE_S)
        assert len(calls) == 2
        wait_for(lambda: client._standing.breaker.check() is None)
        know(client, rate_bps=2e6)
        client._recent = (client._clock(), client.link)
        with pytest.raises(CloudUnavailableError):
            client.infer(tiny.split_points[0], encoded, 0.07)
        assert len(calls) == 3


class _Gone(grpc.RpcError):
    """A call whose connection broke."""

    def code(self):
        return grpc.StatusCode.UNAVAILABLE

    def details(self):
        return "Socket closed"

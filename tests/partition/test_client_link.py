"""What the client learns about the link: from transfers, late replies and in the background."""

from __future__ import annotations

import time
from dataclasses import replace

import grpc
import pytest

from partition import wire
from partition.client import CloudClient
from partition.codec import Int8Codec
from partition.errors import DeadlineExceededError
from partition.server import CloudServer

DEADLINE_S = 5.0


@pytest.fixture
def client(tiny, server):
    with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
        yield client


@pytest.fixture
def encoded(tiny, runtime, image):
    """The whole input, as it crosses."""
    return tuple(Int8Codec().encode(t) for t in runtime.head(tiny.split_points[0], image))


def test_the_link_is_unknown_until_probed(client):
    assert client.link is None
    estimate = client.probe()
    assert estimate == replace(client.link, age_s=estimate.age_s)
    assert 1e6 < estimate.rate_bps <= 1e10
    assert 0 < estimate.rtt_s < 1
    assert estimate.age_s < 1


class TestLinkEstimate:
    """The estimator alone, with known transfer times."""

    @pytest.fixture
    def client(self, tiny):
        with CloudClient("127.0.0.1:1", tiny) as client:
            yield client

    def test_it_finds_rate_and_round_trip_from_transfers(self, client):
        rate_bps, rtt_s = 8e6, 0.02
        for size_bytes in (1_000, 100_000) * 20:
            client._learn(size_bytes, rtt_s + 8 * size_bytes / rate_bps)
        assert client.link.rate_bps == pytest.approx(rate_bps, rel=0.05)
        assert client.link.rtt_s == pytest.approx(rtt_s, rel=0.1)

    def test_it_follows_a_change(self, client):
        for rate_bps in (8e6, 1e6):
            for size_bytes in (1_000, 100_000) * 10:
                client._learn(size_bytes, 0.02 + 8 * size_bytes / rate_bps)
        assert client.link.rate_bps == pytest.approx(1e6, rel=0.1)

    def test_clock_noise_gives_no_infinite_rate(self, client):
        client._learn(1_000, 0.02)
        client._learn(100_000, 0.01)
        assert client.link.rate_bps <= 1e10


class _Late(grpc.RpcError):
    """A call whose deadline passed."""

    def code(self):
        return grpc.StatusCode.DEADLINE_EXCEEDED

    def details(self):
        return "late"


class TestLateReplies:
    """What a reply that did not come in time says about the link."""

    @pytest.fixture
    def late(self, tiny, server, encoded):
        """A client that knows a rate of 8 Mbit/s, and a way to let its next request be late."""
        now_s = [100.0]
        address = f"127.0.0.1:{server.port}"
        with CloudClient(address, tiny, clock=lambda: now_s[0]) as client:
            client._learn(1_000, 0.02)
            client._learn(100_000, 0.02 + 8 * 100_000 / 8e6)

            def too_late(message, timeout):
                raise _Late

            client._infer = too_late

            def miss():
                now_s[0] += 1.0  # past the back-off
                with pytest.raises(DeadlineExceededError):
                    client.infer(tiny.split_points[0], encoded, 1e-4)
                return client.link.rate_bps

            yield client, miss

    def test_each_halves_the_rate(self, late):
        client, miss = late
        before_bps = client.link.rate_bps
        assert [miss() for _ in range(3)] == pytest.approx([before_bps / 2**k for k in (1, 2, 3)])

    def test_a_rate_is_never_above_what_the_deadline_allowed(self, tiny, late, encoded):
        client, miss = late
        client._seconds_per_bit = 1e-12
        request = wire.Request(tiny.fingerprint, 0, encoded)
        assert miss() == pytest.approx(8 * len(wire.pack_request(request)) / 1e-4)

    def test_answers_in_time_bring_the_rate_back(self, late):
        client, miss = late
        before_bps = client.link.rate_bps
        for _ in range(4):
            miss()
        for _ in range(12):
            client._learn(100_000, 0.02 + 8 * 100_000 / 8e6)
        assert client.link.rate_bps == pytest.approx(before_bps, rel=0.05)


class TestRefresh:
    """The measurement in the background while nothing is sent."""

    @pytest.fixture
    def now_s(self):
        return [100.0]

    @pytest.fixture
    def client(self, tiny, server, now_s):
        with CloudClient(f"127.0.0.1:{server.port}", tiny, clock=lambda: now_s[0]) as client:
            yield client

    @staticmethod
    def wait(client):
        give_up_s = time.monotonic() + DEADLINE_S
        while client._refreshing and time.monotonic() < give_up_s:
            time.sleep(0.002)
        assert not client._refreshing

    @pytest.fixture
    def sizes(self, client, monkeypatch):
        """Bytes of each message that measures."""
        seen = []
        refreshed = client._refreshed
        monkeypatch.setattr(
            client,
            "_refreshed",
            lambda call, n, start_s: (seen.append(n), refreshed(call, n, start_s)),
        )
        return seen

    def test_the_first_one_finds_the_link(self, client):
        assert client.link is None
        client.refresh()
        self.wait(client)
        assert client.link.rate_bps > 0
        assert client.link.age_s == 0.0

    def test_a_fresh_rate_costs_an_empty_message_and_a_stale_one_a_large_one(
        self, client, now_s, sizes
    ):
        client.probe()
        for wait_s in (0.5, 0.49, 0.02, 0.5):
            now_s[0] += wait_s
            client.refresh()
            self.wait(client)
        assert sizes == [0, 0, 24_000, 0]
        assert client.link.age_s == 0.5

    def test_it_learns_the_servers_load(self, client, encoded, tiny):
        client.probe()
        client._server_load = 1.0
        client.refresh()
        self.wait(client)
        assert client.link.server_load < 1.0

    def test_it_returns_at_once_and_only_one_is_under_way(self, client, sizes):
        client._echo = _Pending()
        for _ in range(3):
            client.refresh()
        assert len(client._echo.calls) == 1
        client._echo.finish(wire.pack_echo(0.5))
        client.refresh()
        assert len(client._echo.calls) == 2

    def test_a_dead_server_makes_the_link_unknown_and_is_asked_again(self, tiny, runtime, now_s):
        server = CloudServer(tiny, runtime)
        with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
            with server:
                client.probe()
            client.refresh()
            self.wait(client)
            assert client.link is None
            client.refresh()
            self.wait(client)

    def test_a_broken_answer_makes_the_link_unknown(self, client):
        client.probe()
        client._echo = _Pending()
        client.refresh()
        client._echo.finish(b"nonsense")
        assert client.link is None
        assert not client._refreshing


class _Pending:
    """A remote method whose calls end when told."""

    def __init__(self):
        self.calls = []

    def future(self, message, timeout):
        self.calls.append(message)
        return self

    def add_done_callback(self, callback):
        self.callback = callback

    def finish(self, answer):
        self.result = lambda: answer
        self.callback(self)

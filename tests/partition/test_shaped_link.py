"""A relay that slows the uplink down, between real sockets."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Iterator

import pytest

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.errors import CloudUnavailableError
from partition.transport.shaped_link import CHUNK_BYTES, ShapedLink

MESSAGE_BYTES = 40_000


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that sends one connection's bytes back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                while chunk := connection.recv(4096):
                    connection.sendall(chunk)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def exchange(link, message):
    """Send a message and read it back; returns it and the time that took."""
    with socket.create_connection(("127.0.0.1", link.port), timeout=5) as near:
        start_s = time.monotonic()
        sender = threading.Thread(target=near.sendall, args=(message,))
        sender.start()
        answer = b""
        while len(answer) < len(message):
            answer += near.recv(4096)
        sender.join()
        return answer, time.monotonic() - start_s


def test_bytes_arrive_unchanged_and_no_faster_than_the_rate(echo_port):
    message = bytes(range(256)) * (MESSAGE_BYTES // 256)
    with ShapedLink(echo_port, rate_bps=2e6) as link:
        answer, elapsed_s = exchange(link, message)
    assert answer == message
    expected_s = 8 * len(message) / 2e6
    assert 0.95 * expected_s < elapsed_s < expected_s + 0.2


def test_the_rate_may_change_while_the_link_is_up(echo_port):
    with ShapedLink(echo_port, rate_bps=1e3) as link:
        link.rate_bps = 1e9
        _, elapsed_s = exchange(link, bytes(8 * CHUNK_BYTES))
    assert elapsed_s < 0.5


def test_leaving_cuts_the_connections_and_stops_to_listen(echo_port):
    with ShapedLink(echo_port, rate_bps=1e9) as link:
        near = socket.create_connection(("127.0.0.1", link.port), timeout=5)
        near.sendall(b"here")
        assert near.recv(4) == b"here"
    with near:
        assert near.recv(4) == b""
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", link.port), timeout=5)


def test_a_client_finds_the_rate_of_the_link(tiny, server):
    with (
        ShapedLink(server.port, rate_bps=4e6) as link,
        CloudClient(f"127.0.0.1:{link.port}", tiny) as client,
    ):
        client.connect()
        # The relay is a thread here: of single probes 1 in 60 found it late, on a quiet machine.
        found_bps = statistics.median(client.probe().rate_bps for _ in range(5))
        assert found_bps == pytest.approx(4e6, rel=0.4)


def test_a_client_behind_a_cut_link_is_told(tiny, server, runtime, image):
    point = tiny.split_points[0]
    encoded = tuple(Codec().encode(t) for t in runtime.head(point, (image,)))
    with ShapedLink(server.port, rate_bps=1e9) as link:
        client = CloudClient(f"127.0.0.1:{link.port}", tiny)
        client.connect()
    with client, pytest.raises(CloudUnavailableError):
        client.infer(point, encoded, 1.0)

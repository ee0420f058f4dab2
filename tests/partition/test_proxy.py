"""What stands between client and server: proxies of the environment, and things that swallow."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest

from partition.certificates import make_certificates
from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.edge.local_client import LocalClient
from partition.edge.local_service import LocalService
from partition.errors import CloudError
from partition.model.runtime import random_inputs
from partition.security.tls import ClientSecurity, ServerSecurity
from partition.server.cloud_server import CloudServer
from partition.stages.probe import link_rate_bps
from partition.stages.server import StageServer
from tests.partition.swallowing_relay import SwallowingRelay

DEADLINE_S = 5.0
GIVE_UP_S = 30.0
OTHER_HOST = "192.0.2.1:50051"
"""Documentation's address: nobody is there (RFC 5737)."""


@pytest.fixture
def proxy(monkeypatch):
    """A listener that `http_proxy` and its like name; yields what was said to it."""
    import socket

    said = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            with near:
                near.settimeout(2.0)
                try:
                    said.append(near.recv(4096))
                except OSError:
                    said.append(b"")

    threading.Thread(target=serve, daemon=True).start()
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.getsockname()[1]}")
    for name in ("no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield said
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_goes_past_a_proxy_even_where_one_is_wanted(tiny, runtime, proxy, tmp_path, host):
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 2)
    with CloudServer(tiny, runtime, security=ServerSecurity(token_file=token)) as server:
        for wanted in (False, True):
            security = ClientSecurity(token_file=token, proxy=wanted)
            with CloudClient(f"{host}:{server.port}", tiny, security=security) as client:
                client.connect()
    assert proxy == []


def test_a_stage_and_a_local_service_are_reached_past_a_proxy(tiny, proxy):
    with StageServer(tiny, "127.0.0.1:0") as stage:
        assert link_rate_bps(stage.address, DEADLINE_S) > 0
    service = LocalService(tiny, max_waiting=2)
    service.start()
    try:
        LocalClient(service.addresses[0], tiny.path).close()
    finally:
        service.stop()
    assert proxy == []


def test_another_machine_is_reached_through_a_proxy_by_its_option_only(tiny, proxy, tmp_path):
    make_certificates(tmp_path, ["192.0.2.1"])
    for security in (
        ClientSecurity(ca=tmp_path / "ca.pem"),
        ClientSecurity(insecure=True),
    ):
        with (
            CloudClient(OTHER_HOST, tiny, security=security) as client,
            pytest.raises(CloudError),
        ):
            client.connect(1.0)
        assert proxy == []
    security = ClientSecurity(ca=tmp_path / "ca.pem", proxy=True)
    with CloudClient(OTHER_HOST, tiny, security=security) as client, pytest.raises(CloudError):
        client.connect(1.0)
    assert proxy[0].startswith(b"CONNECT " + OTHER_HOST.encode())  # and then TLS inside


def test_nothing_unencrypted_goes_through_a_proxy():
    with pytest.raises(CloudError, match="drop --insecure or --proxy"):
        ClientSecurity(insecure=True, proxy=True)


@contextmanager
def swallowed(tiny, runtime):
    with (
        CloudServer(tiny, runtime) as server,
        SwallowingRelay(("127.0.0.1", server.port)) as relay,
        CloudClient(f"127.0.0.1:{relay.port}", tiny) as client,
    ):
        yield relay, client


def test_a_connection_that_acknowledges_and_swallows_costs_seconds_and_no_minute(tiny, runtime):
    encoded = tuple(map(Codec().encode, random_inputs(tiny)))
    point = tiny.split_points[0]
    with swallowed(tiny, runtime) as (relay, client):
        client.infer(point, encoded, DEADLINE_S)
        relay.swallow()
        began_s = time.monotonic()
        answered = False
        while not answered and time.monotonic() < began_s + GIVE_UP_S:
            try:
                client.infer(point, encoded, 0.3)
                answered = True
            except CloudError:
                time.sleep(0.05)
        assert answered
        print("swallowed for", time.monotonic() - began_s)
        assert time.monotonic() - began_s < 15.0  # gRPC's own value gives 60

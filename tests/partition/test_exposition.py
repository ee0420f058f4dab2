"""Scrapes over HTTP: clients that are slow, gone, or many."""

from __future__ import annotations

import socket
import struct
import threading
import time
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter, make_wsgi_app

from partition.transport import exposition
from partition.transport.exposition import expose

PATIENCE_S = 5.0
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@pytest.fixture
def port(free_port):
    registry = CollectorRegistry()
    Counter("tried", "Tries.", registry=registry).inc()
    stop = expose(make_wsgi_app(registry), f"127.0.0.1:{free_port}")
    yield free_port
    stop()


def scrape(port, host="127.0.0.1"):
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=PATIENCE_S) as page:
        return page.read().decode()


def n_handlers():
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def wait_for(condition):
    give_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.005)


def test_a_client_that_is_gone_leaves_no_trace(port, capfd):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /met")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    assert "tried_total 1.0" in scrape(port)
    wait_for(lambda: n_handlers() == 0)
    assert capfd.readouterr().err == ""


def test_clients_that_send_nothing_take_few_threads_and_not_for_ever(port, monkeypatch):
    monkeypatch.setattr(exposition._Handler, "timeout", 2.0)
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    wait_for(lambda: n_handlers() == exposition._MAX_CONNECTIONS)
    for sock in idle[-4:]:  # found no place
        sock.settimeout(PATIENCE_S)
        assert sock.recv(1) == b""
    wait_for(lambda: n_handlers() == 0)
    assert "tried_total 1.0" in scrape(port)
    for sock in idle:
        sock.close()


@pytest.mark.parametrize("host", ["localhost", "[::1]"])
def test_names_and_ipv6_will_do(free_port, host):
    if host == "[::1]" and not socket.has_ipv6:
        pytest.skip("no IPv6")
    stop = expose(make_wsgi_app(CollectorRegistry()), f"{host}:{free_port}")
    assert scrape(free_port, host) == ""
    stop()

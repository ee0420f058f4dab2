"""A board that answers by HTTP on a port and on a Unix socket, and raw connections to it."""

from __future__ import annotations

import json
import socket
import threading
import time
from http.client import HTTPConnection

import pytest

from partition.edge.local_service import LocalService
from tests.partition.local_board import PATIENCE_S, answering

WAITING = 4
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def service(tiny, tmp_path):
    """Listens by gRPC, on a port and on a Unix socket; nobody answers yet."""
    http = ("127.0.0.1:0", f"unix:{tmp_path}/dvfo.sock")
    service = LocalService(tiny, http=http, max_waiting=WAITING)
    service.start()
    yield service
    service.stop()


@pytest.fixture
def board(service):
    """The same, and answers."""
    with answering(service):
        yield service


class UnixConnection(HTTPConnection):
    """The standard library's client on a Unix socket."""

    def __init__(self, path, timeout=PATIENCE_S):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def host_and_port(service):
    host, _, port = service.addresses[1].removeprefix("http://").rpartition(":")
    return host, int(port)


def over_tcp(service):
    return HTTPConnection(*host_and_port(service), timeout=PATIENCE_S)


def over_unix(service):
    return UnixConnection(service.addresses[2].removeprefix("unix:"))


def raw(service):
    """A connection on which anything can be sent."""
    return socket.create_connection(host_and_port(service), timeout=2 * PATIENCE_S)


def asked(connection, method, path, body=None, headers=None):
    """Status, headers and document of one response."""
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    content = response.read()
    return response.status, response.headers, json.loads(content) if content else None


def status_of(sock):
    """Of the response that comes on a raw connection; None: it was closed without one."""
    with sock.makefile("rb") as file:
        line = file.readline()
    return int(line.split()[1]) if line else None


def wait_for(condition):
    give_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.005)


def n_threads():
    """That serve connections now."""
    return sum(thread.name == "http" for thread in threading.enumerate())

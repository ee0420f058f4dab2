"""Connections by HTTP: places, floods, many callers, and the end of the service."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import numpy as np
import pytest

from partition.edge.http import connection as limits
from partition.edge.http import server as server_module
from partition.edge.http.inference import HEADER_LENGTH
from partition.edge.http.listening import parse_http_address
from partition.edge.http.message import Route, json_response
from partition.edge.http.server import MAX_BODY_BYTES, HttpServer
from partition.listener import fair_pool
from tests.partition.http.conftest import (
    LIVE,
    asked,
    host_and_port,
    n_threads,
    over_tcp,
    over_unix,
    status_of,
    wait_for,
)
from tests.partition.http.test_inference import binary_question, path_of
from tests.partition.local_board import PATIENCE_S, answering, first_row


def test_who_does_not_read_does_not_hold_a_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_SEND_S", 0.2)
    large = json_response("x" * 2**23)
    server = HttpServer(
        [parse_http_address(f"unix:{tmp_path}/s")], lambda *_: Route(0, lambda _: large)
    )
    server.start()
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(f"{tmp_path}/s")
            sock.sendall(LIVE)
            wait_for(lambda: n_threads() == 1)
            wait_for(lambda: n_threads() == 0)
    finally:
        server.stop(1.0)


def small_server(tmp_path, *, max_connections, find_route=None):
    found = Route(0, lambda _: json_response({}))
    return HttpServer(
        [parse_http_address(f"unix:{tmp_path}/s")],
        find_route or (lambda *_: found),
        max_connections=max_connections,
    )


def connected(tmp_path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE_S)
    sock.connect(f"{tmp_path}/s")
    return sock


def test_idle_connections_give_way_and_the_longest_idle_first(tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "_SPARED_S", 0.0)
    server = small_server(tmp_path, max_connections=4)
    server.start()
    idle = []
    try:
        for _ in range(8):
            idle.append(connected(tmp_path))
            idle[-1].sendall(LIVE)
            assert idle[-1].recv(1000).startswith(b"HTTP/1.1 200")
            # Its thread says that it is idle a moment after its client has the answer.
            wait_for(lambda: len(server._idle) == min(len(idle), 4))
        wait_for(lambda: n_threads() == 4)
        assert [sock.recv(1) for sock in idle[:4]] == [b""] * 4
        for sock in idle[4:]:
            sock.sendall(LIVE)
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    finally:
        for sock in idle:
            sock.close()
        server.stop(1.0)


def test_one_more_than_there_are_places_waits_for_one(tmp_path):
    go_on = threading.Event()

    def respond(_):
        go_on.wait(PATIENCE_S)
        return json_response({})

    server = small_server(tmp_path, max_connections=2, find_route=lambda *_: Route(0, respond))
    server.start()
    try:
        with connected(tmp_path) as a, connected(tmp_path) as b, connected(tmp_path) as c:
            for sock in (a, b, c):
                sock.sendall(LIVE)
            wait_for(lambda: n_threads() == 2)
            c.settimeout(0.3)
            with pytest.raises(TimeoutError):
                c.recv(1)
            assert n_threads() == 2
            go_on.set()
            c.settimeout(PATIENCE_S)
            assert [status_of(sock) for sock in (a, b, c)] == [200] * 3
    finally:
        go_on.set()
        server.stop(1.0)


def test_a_flood_of_new_connections_is_answered_whole(tmp_path):
    """Far more at once than there are places; none is ended before its request has come."""
    server = small_server(tmp_path, max_connections=4)
    server.start()

    def ask(_):
        with connected(tmp_path) as sock:
            sock.settimeout(8 * PATIENCE_S)
            sock.sendall(LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            return status_of(sock)

    try:
        with ThreadPoolExecutor(64) as pool:
            assert list(pool.map(ask, range(256))) == [200] * 256
    finally:
        server.stop(1.0)


def test_few_threads_work_at_the_same_time_and_those_that_wait_do_not_count(tmp_path):
    guard, at_once, go_on = threading.Lock(), [0, 0], threading.Event()

    def work(_):
        with guard:
            at_once[0] += 1
            at_once[1] = max(at_once)
        time.sleep(0.02)
        with guard:
            at_once[0] -= 1
        with fair_pool.aside():
            go_on.wait(PATIENCE_S)
        return json_response({})

    server = small_server(tmp_path, max_connections=32, find_route=lambda *_: Route(0, work))
    server.start()
    sockets = [connected(tmp_path) for _ in range(16)]
    try:
        for sock in sockets:
            sock.sendall(LIVE)
        wait_for(lambda: at_once == [0, 4])
        go_on.set()
        assert [status_of(sock) for sock in sockets] == [200] * len(sockets)
        assert at_once == [0, 4]
    finally:
        go_on.set()
        for sock in sockets:
            sock.close()
        server.stop(1.0)


def test_bodies_take_no_more_room_than_there_is(tmp_path):
    find_route = lambda *_: Route(MAX_BODY_BYTES, lambda request: json_response({}))  # noqa: E731
    server = small_server(tmp_path, max_connections=8, find_route=find_route)
    server.start()
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_BYTES // 2}\r\n\r\n".encode()
    try:
        with connected(tmp_path) as a, connected(tmp_path) as b, connected(tmp_path) as c:
            a.sendall(head)
            b.sendall(head)
            wait_for(lambda: server.room._left_bytes == 0)
            c.sendall(head)
            answer = c.recv(1000)
            assert answer.startswith(b"HTTP/1.1 429 ")
            assert b"Retry-After: 1\r\n" in answer
        wait_for(lambda: server.room._left_bytes == MAX_BODY_BYTES)
    finally:
        server.stop(1.0)


def test_what_fails_beyond_its_handler_is_logged_and_the_service_goes_on(tmp_path, caplog):
    def respond(_):
        raise RuntimeError("a mistake")

    server = small_server(tmp_path, max_connections=2, find_route=lambda *_: Route(0, respond))
    server.start()
    try:
        for _ in range(2):
            with connected(tmp_path) as sock:
                sock.sendall(LIVE)
                assert status_of(sock) == 500
    finally:
        server.stop(1.0)
    assert "a mistake" in caplog.text


@pytest.mark.parametrize("connect", [over_tcp, over_unix])
def test_two_hundred_callers_get_their_own_answers_and_no_other(service, tiny, connect):
    """Each sends inputs of its own; what is answered is right, and every request is answered."""
    n_callers, n_each = 200, 4
    statuses, wrong = [], []

    def ask(caller):
        connection = connect(service)
        for turn in range(n_each):
            mine = np.full(tiny.input_shape, n_each * caller + turn, np.float32)
            body, headers = binary_question(tiny, mine, parameters={"binary_data_output": True})
            connection.request("POST", path_of(tiny), body, headers)
            response = connection.getresponse()
            content = response.read()
            statuses.append(response.status)
            if response.status == 200:
                answer = content[int(response.headers[HEADER_LENGTH]) :]
                if answer != first_row(mine).tobytes():
                    wrong.append((caller, turn))
            elif response.status != 429:
                wrong.append((caller, turn, content))

    with answering(service, pause_s=0.002), ThreadPoolExecutor(n_callers) as pool:
        callers = [pool.submit(ask, caller) for caller in range(n_callers)]
        for caller in callers:
            caller.result(24 * PATIENCE_S)
    assert wrong == []
    assert len(statuses) == n_callers * n_each
    assert statuses.count(200) + service.refused == len(statuses)
    assert statuses.count(200) >= n_each


def test_whoever_waits_when_the_service_stops_is_told(service, tiny, image):
    body, headers = binary_question(tiny, image)
    found = []

    def ask(connect):
        found.append(asked(connect(service), "POST", path_of(tiny), body, headers))

    callers = [threading.Thread(target=ask, args=(each,)) for each in (over_tcp, over_unix)]
    for caller in callers:
        caller.start()
    wait_for(lambda: service.waiting() == 2)
    idle = over_tcp(service)
    assert asked(idle, "GET", "/v2/health/ready")[0] == 200
    began_s = time.monotonic()
    service.stop()
    assert time.monotonic() - began_s < PATIENCE_S
    for caller in callers:
        caller.join(PATIENCE_S)
    assert [status for status, *_ in found] == [503, 503]
    assert all(headers["Retry-After"] == "1" for _, headers, _ in found)
    assert all("stopped" in document["error"] for *_, document in found)
    with pytest.raises((OSError, HTTPException)):
        asked(idle, "GET", "/v2/health/ready")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(host_and_port(service))
    wait_for(lambda: n_threads() == 0)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_is_answered_on_both(board, tiny, image, tmp_path):
    body, headers = binary_question(tiny, image)
    (tmp_path / "body").write_bytes(body)
    for where in (
        [f"{board.addresses[1]}{path_of(tiny)}"],
        ["--unix-socket", board.addresses[2].removeprefix("unix:"), f"http://b{path_of(tiny)}"],
    ):
        said = subprocess.run(
            [
                "curl",
                "--silent",
                "--show-error",
                "--fail",
                "--noproxy",
                "*",
                "--data-binary",
                f"@{tmp_path}/body",
                "-H",
                f"{HEADER_LENGTH}: {headers[HEADER_LENGTH]}",
                *where,
            ],
            capture_output=True,
            timeout=4 * PATIENCE_S,
            check=True,
            env=os.environ,
        )
        document = json.loads(said.stdout)
        assert document["outputs"][0]["data"] == first_row(image).reshape(-1).tolist()

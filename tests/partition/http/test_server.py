"""Connections by HTTP under those who send garbage, too much, too slowly, or too often."""

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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partition.edge.http import connection as limits
from partition.edge.http import server as server_module
from partition.edge.http.connection import HEAD_BYTES
from partition.edge.http.inference import HEADER_LENGTH
from partition.edge.http.listening import parse_http_address
from partition.edge.http.message import Route, json_response
from partition.edge.http.server import MAX_BODY_BYTES, HttpServer
from partition.listener import fair_pool
from tests.partition.http.conftest import (
    asked,
    host_and_port,
    over_tcp,
    over_unix,
    raw,
    status_of,
    wait_for,
)
from tests.partition.http.test_inference import binary_question, path_of
from tests.partition.local_board import PATIENCE_S, answering, first_row

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def n_threads():
    return sum(thread.name == "http" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/v2/models/other", "GET", 404),
        ("/v2/models/other/infer", "POST", 404),
        ("/v2/models/tiny-cnn/config", "GET", 404),
        ("/v2/models/tiny-cnn/../../../etc/passwd", "GET", 404),
        ("/v2/models/tiny-cnn/infer", "GET", 405),
        ("/v2/health/live", "POST", 405),
        ("/v2/health/live", "DELETE", 405),
    ],
)
def test_what_is_not_there_is_named_and_the_connection_goes_on(board, path, method, status):
    connection = over_tcp(board)
    found, headers, document = asked(connection, method, path)
    assert found == status
    assert path in document["error"] or "takes" in document["error"]
    assert (headers.get("Allow") is not None) == (status == 405)
    assert connection.sock is not None  # http.client drops it when the server is to close it
    assert asked(connection, "GET", "/v2/health/live")[0] == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /v2\r\n\r\n", 400),
        (b"GET /v2 HTTP/2.0\r\n\r\n", 505),
        (b"GET /v2 HTTP/one\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx", 413),
        (LIVE[:-2] + b"X: " + b"x" * 2 * HEAD_BYTES + b"\r\n\r\n", 431),
        (LIVE[:-2] + b"X: y\r\n" * 101 + b"\r\n", 431),
        (b"GET /" + b"x" * 2 * HEAD_BYTES + b" HTTP/1.1\r\n\r\n", 431),
        (b"POST /v2/models/tiny-cnn/infer HTTP/1.1\r\nHost: localhost\r\n\r\n", 411),
        *(
            (
                b"POST /v2/models/tiny-cnn/infer HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n"
                % header,
                status,
            )
            for header, status in (
                (b"Transfer-Encoding: chunked", 411),
                (b"Content-Length: 5\r\nTransfer-Encoding: chunked", 411),
                (b"Content-Length: -1", 400),
                (b"Content-Length: +5", 400),
                (b"Content-Length: 5_0", 400),
                (b"Content-Length: 5\r\nContent-Length: 6", 400),
                (b"Content-Length: " + b"9" * 15, 413),
                (b"Content-Length: " + b"9" * 99, 400),
                (b"Content-Length: 5\r\nContent-Encoding: gzip", 415),
            )
        ),
    ],
)
def test_a_malformed_request_is_refused_by_its_status(board, request_bytes, status):
    with raw(board) as sock:
        sock.sendall(request_bytes)
        assert status_of(sock) == status
    assert asked(over_tcp(board), "GET", "/v2/health/live")[0] == 200


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    garbage=st.binary(max_size=300)
    | st.tuples(st.sampled_from(LIVE.split(b" ")), st.binary(max_size=60)).map(b"".join)
)
def test_garbage_takes_no_thread_with_it(board, garbage):
    with raw(board) as sock:
        sock.sendall(garbage)
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as file:
            answer = file.read()
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert b"the service failed" not in answer
    wait_for(lambda: n_threads() == 0)


def test_a_response_to_head_has_no_body(board):
    with raw(board) as sock:
        sock.sendall(
            LIVE.replace(b"GET", b"HEAD")
            + LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        with sock.makefile("rb") as file:
            head, _, rest = file.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ")
    assert rest.startswith(b"HTTP/1.1 200 OK")


def test_requests_that_come_at_once_are_answered_in_order(board):
    with raw(board) as sock:
        sock.sendall(3 * LIVE + b"GET /none HTTP/1.0\r\n\r\n")
        with sock.makefile("rb") as file:
            answer = file.read()
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.rindex(b"HTTP/1.1 200 OK") < answer.index(b"HTTP/1.1 404 Not Found")


@pytest.mark.parametrize(
    "header",
    [
        "Origin: http://127.0.0.1:8000",
        "Origin: null",
        "Host: evil.example",
        "Host: 127.0.0.1.nip.io",
    ],
)
def test_web_pages_are_not_answered(board, header):
    name, value = header.split(": ")
    status, _, document = asked(over_tcp(board), "GET", "/v2/health/live", headers={name: value})
    assert status == 403
    assert "not" in document["error"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.2:1", "[::1]:8"]
)
def test_all_names_of_this_machine_are_its_own(board, host):
    assert asked(over_tcp(board), "GET", "/v2/health/live", headers={"Host": host})[0] == 200


def test_on_a_unix_socket_any_host_will_do(board):
    assert asked(over_unix(board), "GET", "/v2", headers={"Host": "dvfo"})[0] == 200


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(board, tiny):
    head = (
        f"POST {path_of(tiny)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    with raw(board) as sock:
        sock.sendall(head.encode())
        assert status_of(sock) == 413


def test_a_refusal_reaches_who_is_still_sending(board, tiny):
    body = bytes(8 * 2**20)
    with raw(board) as sock:
        sock.sendall(
            f"POST {path_of(tiny)} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
        )
        sock.sendall(body)
        assert status_of(sock) == 413


def test_a_client_that_waits_to_be_told_to_go_on_is_told(board, tiny, image):
    body, headers = binary_question(tiny, image)
    head = (
        f"POST {path_of(tiny)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        f"{HEADER_LENGTH}: {headers[HEADER_LENGTH]}\r\nExpect: 100-continue\r\n\r\n"
    )
    with raw(board) as sock, sock.makefile("rb") as file:
        sock.sendall(head.encode())
        assert file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert file.readline() == b"\r\n"
        sock.sendall(body)
        assert file.readline() == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("first", "drop", "longest_s"),
    [
        (b"GET /v2 HTTP/1.1\r\nX: ", b"x", limits.HEAD_S),
        (
            b"POST /v2/models/tiny-cnn/infer HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: 1000\r\n\r\n",
            b"x",
            limits._BODY_S,
        ),
    ],
)
def test_who_sends_byte_after_byte_does_not_hold_a_thread(board, first, drop, longest_s):
    with raw(board) as sock:
        began_s = time.monotonic()
        sock.sendall(first)
        sock.settimeout(0.1)
        answer = b""
        while not answer:
            assert time.monotonic() - began_s < longest_s + PATIENCE_S
            sock.sendall(drop)
            try:
                answer = sock.recv(100)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began_s >= 0.9 * longest_s
    wait_for(lambda: n_threads() == 0)


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

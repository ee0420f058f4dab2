"""Requests by HTTP that are garbage, too long, too slow, or of web pages."""

from __future__ import annotations

import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partition.edge.http import connection as limits
from partition.edge.http.connection import HEAD_BYTES
from partition.edge.http.inference import HEADER_LENGTH
from tests.partition.http.conftest import (
    LIVE,
    asked,
    n_threads,
    over_tcp,
    over_unix,
    raw,
    status_of,
    wait_for,
)
from tests.partition.http.test_inference import binary_question, path_of
from tests.partition.local_board import PATIENCE_S


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
        (b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nX: a\rY: b\r\n\r\n", 400),
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


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    refused = LIVE.replace(b"GET /v2/health/live", b"HEAD /v2/models/tiny-cnn/infer")
    with raw(board) as sock:
        sock.sendall(
            LIVE.replace(b"GET", b"HEAD")
            + refused
            + LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        with sock.makefile("rb") as file:
            first, second, third, body = file.read().split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert b"\r\nContent-Length: 13\r\n" in first
    assert second.startswith(b"HTTP/1.1 405 ")
    assert third.startswith(b"HTTP/1.1 200 OK")
    assert len(body) == 13


def test_requests_that_come_at_once_are_answered_in_order(board):
    with raw(board) as sock:
        sock.sendall(3 * LIVE + b"GET /none HTTP/1.0\r\n\r\n")
        with sock.makefile("rb") as file:
            answer = file.read()
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.rindex(b"HTTP/1.1 200 OK") < answer.index(b"HTTP/1.1 404 Not Found")


@pytest.mark.parametrize("path", [b"/v2", b"/none"])
@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 0\r\nContent-Length: %d",
        b"Content-Length: \r\nContent-Length: %d",
        b"X: y\r\r\nContent-Length: %d",
        b"Content-Type: multipart/form-data; boundary=x\r\r\nContent-Length: %d",
    ],
)
def test_a_body_that_can_be_overlooked_is_not_taken_for_the_next_request(board, path, headers):
    head = b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n"
    with raw(board) as sock, sock.makefile("rb") as file:
        sock.sendall(head % (path, headers % len(LIVE)) + LIVE)
        answer = file.read()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answer


def test_an_empty_line_before_a_request_is_overlooked(board):
    with raw(board) as sock, sock.makefile("rb") as file:
        sock.sendall(b"\r\n" + LIVE)
        assert file.readline() == b"HTTP/1.1 200 OK\r\n"


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


def test_a_client_of_http_1_0_is_not_told_to_go_on(board, tiny):
    with raw(board) as sock:
        sock.sendall(
            f"POST {path_of(tiny)} HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
            "{}".encode()
        )
        assert status_of(sock) == 400


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

"""One connection of an application: its requests one after the other, within limits."""

from __future__ import annotations

import io
import logging
import re
import socket
import time
from contextlib import suppress
from email.errors import FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol

from partition.edge.http.body_room import BodyRoom
from partition.edge.http.message import (
    FindRoute,
    HttpRequest,
    HttpResponse,
    Route,
    refusal_response,
)
from partition.edge.http.refusal import KNOWN_ERRORS, HttpRefusalError, refusal_of
from partition.edge.http.timed_reader import TimedReader, TooManyBytesError
from partition.listener import fair_pool
from partition.listener.peers import Peer
from partition.security.tls import is_loopback

logger = logging.getLogger(__name__)

IDLE_S = 60.0
"""Between two requests of a connection."""
HEAD_S = 2.0
"""For request line and headers."""
_BODY_S, _BODY_BYTES_PER_S = 2.0, 4e6
_SEND_S = 5.0
_LINGER_S, _LINGER_PART_BYTES = 1.0, 65_536
"""Whoever still sends a body that is refused learns of it only if somebody reads on."""
HEAD_BYTES = 16_384
_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)
_DEFECTS = (MissingHeaderBodySeparatorDefect, FirstHeaderLineIsContinuationDefect)
"""Of the headers themselves; the parser, made for mail, looks for the parts of a form, too."""
_BARE_CR = re.compile(rb"\r(?!\n)")
"""Ends a line for the parser of headers, and for nobody else: what stands behind it could hide."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Host(Protocol):
    """What a connection needs of its server."""

    find_route: FindRoute
    room: BodyRoom
    is_stopping: bool

    def is_idle(self, connection: HttpConnection) -> None:
        """It waits for a request and may be ended."""

    def is_busy(self, connection: HttpConnection) -> None:
        """It has one."""


class HttpConnection(BaseHTTPRequestHandler):
    """Serves one connection until it ends; the standard library's reader of request heads.

    Args:
        sock: connected.
        peer: the application.
        host: the server.
        is_unix: whether it came by a Unix socket.
    """

    protocol_version = "HTTP/1.1"

    def __init__(self, sock: socket.socket, peer: Peer, host: Host, *, is_unix: bool) -> None:
        # `BaseHTTPRequestHandler` itself would begin to serve while it is being made.
        self._sock, self._peer, self._host, self._is_unix = sock, peer, host, is_unix
        self._timed = TimedReader(sock)
        self._reader = io.BufferedReader(self._timed)
        self.close_connection = self._is_unread = True
        self.command = ""

    def serve(self) -> None:
        """Answer requests until the client, an error or the server ends the connection."""
        try:
            while self._wait_for_request() and self._answer_next():
                pass
        except (OSError, TooManyBytesError):  # the client is gone, or too slow to be told anything
            pass
        finally:
            self.end()
            self._sock.close()

    def end(self) -> None:
        """End the connection, from any thread."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _wait_for_request(self) -> bool:
        """Whether something of a request came before the client has gone or was idle for long."""
        self._timed.allow(IDLE_S, HEAD_BYTES)
        self._host.is_idle(self)
        try:
            return not self._host.is_stopping and bool(self._reader.peek(1))
        finally:
            self._host.is_busy(self)

    def _answer_next(self) -> bool:
        """Answer one request; whether the connection may go on."""
        self.close_connection = self._is_unread = True
        try:
            response = self._answer()
        except HttpRefusalError as refusal:
            response = refusal_response(refusal)
        if self._host.is_stopping or self._is_unread:
            self.close_connection = True
        self._send(response)
        if self._is_unread:
            self._linger()
        return not self.close_connection

    def _answer(self) -> HttpResponse:
        self._read_head()
        self._is_unread = self._has_body()
        self._check_origin()
        path, _, query = self.path.partition("?")
        route = self._host.find_route(self.command, path)
        length = self._body_bytes(route)
        try:
            with self._host.room.taken(length):
                body = self._read_body(length)
                return route.respond(HttpRequest(self._peer, query, self._headers().get, body))
        except HttpRefusalError:
            raise
        except KNOWN_ERRORS as error:
            raise refusal_of(error) from error
        except (OSError, TooManyBytesError):
            raise
        except Exception:
            logger.exception("a request failed beyond its handler")
            raise HttpRefusalError(
                HTTPStatus.INTERNAL_SERVER_ERROR, "the service failed: its log says why"
            ) from None

    def _read_head(self) -> None:
        """Read request line and headers.

        Raises:
            HttpRefusalError: they are malformed, too long or too slow.
        """
        self._timed.allow(HEAD_S, HEAD_BYTES)
        try:
            lines = self._head_lines()
        except TimeoutError:
            raise HttpRefusalError(
                HTTPStatus.REQUEST_TIMEOUT, f"no whole head of a request within {HEAD_S:g} s"
            ) from None
        except TooManyBytesError:
            raise HttpRefusalError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"the head of a request has {HEAD_BYTES} bytes at most",
            ) from None
        self.raw_requestline, self.rfile = lines[0], io.BytesIO(b"".join(lines[1:]))
        is_whole = self.parse_request() and not any(map(_BARE_CR.search, lines))
        defects = self._headers().defects if is_whole else ()
        is_broken = any(isinstance(defect, _DEFECTS) for defect in defects)
        if not is_whole or is_broken or self.request_version == "HTTP/0.9":
            self.close_connection = True
            raise HttpRefusalError(HTTPStatus.BAD_REQUEST, "that is no request of HTTP/1.1")

    def _head_lines(self) -> list[bytes]:
        """Request line and headers, up to the empty line that ends them or the client's end."""
        lines = [self._reader.readline()]
        if lines == [b"\r\n"]:  # some clients send one behind a body
            lines = [self._reader.readline()]
        while lines[-1] not in (b"\r\n", b"\n", b""):
            lines.append(self._reader.readline())
        return lines

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a head, in place of the standard library's page.

        Raises:
            HttpRefusalError: always.
        """
        self.close_connection = True
        status = HTTPStatus(code)
        raise HttpRefusalError(status, message or status.phrase)

    def handle_expect_100(self) -> bool:
        """Let a client wait until its head has been looked at; see `_read_body`."""
        return True

    def _headers(self) -> Message:
        return self.headers

    def _check_origin(self) -> None:
        """Refuse what web pages make a browser on this machine send.

        A page's own requests name its origin; one whose name was made to mean 127.0.0.1 afterwards
        (DNS rebinding) still names itself as the host.

        Raises:
            HttpRefusalError: it came from one.
        """
        if self._is_unix:
            return
        headers = self._headers()
        if headers.get("Origin") is not None:
            raise HttpRefusalError(
                HTTPStatus.FORBIDDEN, "web pages are not answered: leave the Origin header out"
            )
        hosts = headers.get_all("Host", [])
        if len(hosts) > 1 or (not hosts and self.request_version != "HTTP/1.0"):
            raise HttpRefusalError(HTTPStatus.BAD_REQUEST, "a request has one Host header")
        if hosts and not is_loopback(_name_of(hosts[0])):
            raise HttpRefusalError(
                HTTPStatus.FORBIDDEN,
                f"host {hosts[0][:100]!r} is not this machine: ask 127.0.0.1 or localhost",
            )

    def _has_body(self) -> bool:
        """Whether one may follow the head; where its length is in doubt, it may."""
        headers = self._headers()
        lengths = headers.get_all("Content-Length", ["0"])
        return headers.get("Transfer-Encoding") is not None or lengths != ["0"]

    def _body_bytes(self, route: Route) -> int:
        """Length of the body, which is not read yet.

        Raises:
            HttpRefusalError: it is unknown, none or too long.
        """
        headers = self._headers()
        lengths = headers.get_all("Content-Length", [])
        if headers.get("Transfer-Encoding") is not None:
            raise HttpRefusalError(
                HTTPStatus.LENGTH_REQUIRED, "bodies in chunks are not taken: send Content-Length"
            )
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise HttpRefusalError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not taken"
            )
        if not lengths and route.max_body_bytes:
            raise HttpRefusalError(HTTPStatus.LENGTH_REQUIRED, "send Content-Length and a body")
        if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0].strip())):
            raise HttpRefusalError(
                HTTPStatus.BAD_REQUEST, "Content-Length is one whole number of bytes"
            )
        length = int(lengths[0]) if lengths else 0
        if length > route.max_body_bytes:
            raise HttpRefusalError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"a body of {length} bytes is more than the {route.max_body_bytes} that are taken "
                "here",
            )
        return length

    def _read_body(self, length: int) -> bytes:
        """The body.

        Raises:
            HttpRefusalError: it does not come in time.
            OSError: the client is gone.
        """
        expected = self._headers().get("Expect", "").lower()
        if length and expected == "100-continue" and self.request_version != "HTTP/1.0":
            self._send_all(_CONTINUE)
        seconds = _BODY_S + length / _BODY_BYTES_PER_S
        # Some of it has come with the head, and what comes behind it is the next request.
        self._timed.allow(seconds, length)
        try:
            body = self._reader.read(length) if length else b""
        except TimeoutError:
            raise HttpRefusalError(
                HTTPStatus.REQUEST_TIMEOUT,
                f"a body of {length} bytes did not come within {seconds:.1f} s",
            ) from None
        if len(body) < length:
            raise ConnectionResetError
        self._is_unread = False
        return body

    def _send(self, response: HttpResponse) -> None:
        headers = {
            **response.headers,
            "Content-Length": str(len(response.body)),
            "Connection": "close" if self.close_connection else "keep-alive",
        }
        lines = [f"HTTP/1.1 {response.status.value} {response.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        # To HEAD a response has no body, though its length.
        self._send_all(head if self.command == "HEAD" else head + response.body)

    def _send_all(self, data: bytes) -> None:
        with fair_pool.aside():
            self._sock.settimeout(_SEND_S)
            self._sock.sendall(data)

    def _linger(self) -> None:
        """Let a refusal reach a client that is still sending: a reset would overtake it."""
        self._sock.shutdown(socket.SHUT_WR)
        give_up_s = time.monotonic() + _LINGER_S
        with fair_pool.aside():
            while (left_s := give_up_s - time.monotonic()) > 0.0:
                self._sock.settimeout(left_s)
                if not self._sock.recv(_LINGER_PART_BYTES):
                    return

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are counted, not written down one by one."""


def _name_of(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    name = re.sub(r":[0-9]*$", "", host.strip().lower(), flags=re.ASCII)
    return name.removeprefix("[").removesuffix("]") if name.startswith("[") else name

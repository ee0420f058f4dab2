"""Floods: what strangers do to a server, in raw HTTP/2 so that nothing slows them down.

python -m tests.partition.floods KIND HOST:PORT SECONDS [--source 127.0.0.66] [--ca PEM]
    [--token TOKEN] [--message FILE]
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GO_AWAY, _WINDOW, _CONTINUATION = (
    *(0, 1, 3, 4, 6, 7, 8, 9),
)
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_LARGE_WINDOW = struct.pack(">I", 2**30)
_HEADER_BYTES = 9
_FRAME_BYTES = 16_384
_OUTSTANDING = 60
"""Calls of one connection at once."""


def frame(kind, flags, stream, payload=b""):
    """One frame of HTTP/2."""
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes((kind, flags))
        + struct.pack(">I", stream)
        + payload
    )


def _text(value):
    assert len(value) < 127
    return bytes((len(value),)) + value


def header_block(path, token, extra=()):
    """Headers of a call, each as a literal without an index."""
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *extra,
    ]
    if token:
        fields.append((b"authorization", b"Bearer " + token))
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)


class Connection:
    """A connection of a client that says what it likes."""

    def __init__(self, target):
        self.target = target
        sock = socket.create_connection(
            target.address, 5.0, source_address=(target.source, 0) if target.source else None
        )
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.tls is not None:
            sock = target.tls.wrap_socket(sock, server_hostname="localhost")
        self.sock = sock
        self.open: set[int] = set()
        self.ended = 0
        self._next, self._credit, self._buffer = 1, 65_535, b""

    def greet(self):
        """The preface, with room for all that is answered."""
        settings = struct.pack(">HI", 4, 2**30)
        hello = frame(_SETTINGS, 0, 0, settings) + frame(_WINDOW, 0, 0, _LARGE_WINDOW)
        self.sock.sendall(PREFACE + hello)
        return self

    def begin(self, block):
        """Headers of a call; returns its stream."""
        stream, self._next = self._next, self._next + 2
        self.open.add(stream)
        return stream, frame(_HEADERS, _END_HEADERS, stream, block)

    def call(self, block, message):
        """A whole call."""
        stream, first = self.begin(block)
        body = b"\0" + struct.pack(">I", len(message)) + message
        self._credit -= len(body)
        parts = [body[i : i + _FRAME_BYTES] for i in range(0, len(body), _FRAME_BYTES)]
        frames = [
            frame(_DATA, _END_STREAM if i == len(parts) - 1 else 0, stream, part)
            for i, part in enumerate(parts)
        ]
        self.sock.sendall(first + b"".join(frames))

    @property
    def has_credit(self):
        """Whether the server reads as fast as this side sends."""
        return self._credit > 0

    def read(self, timeout_s):
        """Take in what is there, and answer what must be."""
        self.sock.settimeout(timeout_s)
        try:
            data = self.sock.recv(262_144)
        except (TimeoutError, ssl.SSLWantReadError):
            return
        if not data:
            raise ConnectionError("closed")
        buffer, at = self._buffer + data, 0
        while len(buffer) - at >= _HEADER_BYTES:
            size = int.from_bytes(buffer[at : at + 3], "big")
            if len(buffer) - at < _HEADER_BYTES + size:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big")
            payload = buffer[at + _HEADER_BYTES : at + _HEADER_BYTES + size]
            self._took(kind, flags, stream, payload)
            at += _HEADER_BYTES + size
        self._buffer = buffer[at:]

    def _took(self, kind, flags, stream, payload):
        if kind == _SETTINGS and not flags & _ACK:
            self.sock.sendall(frame(_SETTINGS, _ACK, 0))
        elif kind == _PING and not flags & _ACK:
            self.sock.sendall(frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW and stream == 0:
            self._credit += int.from_bytes(payload, "big")
        elif kind == _RESET or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
            self.open.discard(stream)
            self.ended += 1


class Target:
    """Who is flooded, from where, and with what."""

    def __init__(self, address, source=None, ca=None, token=b"", message=b""):
        host, _, port = address.rpartition(":")
        self.address = host, int(port)
        self.source, self.token, self.message = source, token, message
        self.tls = None
        if ca is not None:
            self.tls = ssl.create_default_context(cafile=ca)
            self.tls.set_alpn_protocols(["h2"])
            self.tls.check_hostname = False
        self.over = threading.Event()
        self.calls = self.connections = self.failed = 0


def _again(target, act):
    """Do it on a new connection whenever the last one has ended."""
    while not target.over.is_set():
        try:
            connection = Connection(target)
        except OSError:
            target.failed += 1
            target.over.wait(0.05)
            continue
        target.connections += 1
        with suppress(OSError):
            act(connection)
        with suppress(OSError):
            connection.sock.close()
        target.calls += connection.ended


def _whole_calls(path, *, right=True):
    def act(connection):
        target = connection.target
        block = header_block(path, target.token if right else b"wrong" * 8)
        connection.greet()
        while not target.over.is_set():
            while len(connection.open) < _OUTSTANDING and connection.has_credit:
                connection.call(block, target.message if b"Infer" in path else b"")
            connection.read(0.02)

    return act


def _headers_only(extra=()):
    """Calls whose message never comes."""

    def act(connection):
        target = connection.target
        block = header_block(b"/dvfo.Split/Infer", target.token, extra)
        connection.greet()
        while not target.over.is_set():
            while len(connection.open) < _OUTSTANDING:
                connection.sock.sendall(connection.begin(block)[1])
            connection.read(0.02)

    return act


def _drip(connection):
    """Messages of which a byte comes now and then."""
    target = connection.target
    block = header_block(b"/dvfo.Split/Infer", target.token)
    connection.greet()
    while not target.over.is_set():
        while len(connection.open) < _OUTSTANDING:
            stream, first = connection.begin(block)
            announced = b"\0" + struct.pack(">I", 10_000)
            connection.sock.sendall(first + frame(_DATA, 0, stream, announced))
        for stream in list(connection.open):
            connection.sock.sendall(frame(_DATA, 0, stream, b"x"))
        connection.read(0.2)


def _drip_preface(connection):
    for byte in PREFACE * 10:
        if connection.target.over.wait(0.5):
            return
        connection.sock.sendall(bytes((byte,)))


def _huge_headers(connection):
    """A header that never ends."""
    connection.greet()
    _, first = connection.begin(header_block(b"/dvfo.Split/Infer", b""))
    connection.sock.sendall(first[:4] + b"\0" + first[5:])  # without END_HEADERS
    more = b"\0" + _text(b"x-filler") + _text(b"y" * 100)
    for _ in range(20_000):
        if connection.target.over.is_set():
            return
        connection.sock.sendall(frame(_CONTINUATION, 0, 1, more * 100))


def _resets(connection):
    """Calls that are taken back at once."""
    target = connection.target
    block = header_block(b"/dvfo.Split/Infer", target.token)
    connection.greet()
    cancel = struct.pack(">I", 8)
    while not target.over.is_set():
        for _ in range(100):
            stream, first = connection.begin(block)
            connection.sock.sendall(first + frame(_RESET, 0, stream, cancel))
            connection.ended += 1
        connection.open.clear()
        connection.read(0.001)


def _pings(connection):
    connection.greet()
    while not connection.target.over.is_set():
        connection.sock.sendall(frame(_PING, 0, 0, bytes(8)) * 100)
        connection.read(0.001)


def _come_and_go(connection):
    connection.greet()


def _garbage(connection):
    connection.greet()
    for _ in range(100):
        if connection.target.over.is_set():
            return
        kind = random.randrange(12)
        noise = frame(kind, random.randrange(256), random.randrange(8), os.urandom(64))
        connection.sock.sendall(noise)
        connection.read(0.001)


def _silent(connection):
    connection.greet()
    while not connection.target.over.wait(0.5):
        connection.read(0.001)


def _half_handshakes(target):
    """TLS that is begun and not gone on with."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(100)
    while not target.over.is_set():
        with suppress(OSError), socket.create_connection(target.address, 5.0) as sock:
            target.connections += 1
            sock.sendall(hello)
            target.over.wait(1.0)


_LONG_METADATA = [(b"x-%d" % i, b"y" * 100) for i in range(60)]
"""As much as a header may have."""
_INFER, _ECHO = b"/dvfo.Split/Infer", b"/dvfo.Split/Echo"
FLOODS = {
    "requests": (_whole_calls(_INFER), 20),
    "echoes": (_whole_calls(_ECHO), 20),
    "wrong tokens": (_whole_calls(_INFER, right=False), 20),
    "health checks": (_whole_calls(b"/grpc.health.v1.Health/Check"), 20),
    "no such method": (_whole_calls(b"/dvfo.Split/Nothing"), 20),
    "calls without message": (_headers_only(), 20),
    "messages byte by byte": (_drip, 20),
    "greetings byte by byte": (_drip_preface, 300),
    "headers without end": (_huge_headers, 20),
    "long metadata": (_headers_only(_LONG_METADATA), 20),
    "calls taken back": (_resets, 20),
    "pings": (_pings, 20),
    "connections that come and go": (_come_and_go, 20),
    "idle connections": (_silent, 1000),
    "garbage": (_garbage, 20),
}
TLS_FLOODS = ("handshakes", "half handshakes")


def flood(kind, target, seconds):
    """Flood a target for some time."""
    if kind == "half handshakes":
        jobs = [threading.Thread(target=_half_handshakes, args=(target,)) for _ in range(300)]
    else:
        act, n = FLOODS["connections that come and go" if kind == "handshakes" else kind]
        jobs = [threading.Thread(target=_again, args=(target, act)) for _ in range(n)]
    for job in jobs:
        job.start()
    target.over.wait(seconds)
    target.over.set()
    for job in jobs:
        job.join(10.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=[*FLOODS, *TLS_FLOODS])
    parser.add_argument("address")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--source")
    parser.add_argument("--ca")
    parser.add_argument("--token", default="")
    parser.add_argument("--message", type=argparse.FileType("rb"))
    arguments = parser.parse_args()
    threading.stack_size(256 * 1024)
    os.nice(10)
    target = Target(
        arguments.address,
        arguments.source,
        arguments.ca,
        arguments.token.encode(),
        arguments.message.read() if arguments.message else b"",
    )
    began_s = time.monotonic()
    flood(arguments.kind, target, arguments.seconds)
    print(target.connections, target.calls, target.failed, time.monotonic() - began_s)

"""Sockets of this process that gRPC opened and does not show: found by their descriptors."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from partition.listener import peers
from partition.listener.conduct import Seen
from partition.listener.peers import Peer

_MAX_FILES = 65_536
"""Open files that a server asks for; more would only cost memory in an attack."""
_DESCRIPTORS = "/proc/self/fd"
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_TCP_INFO_BYTES, _RECEIVED = 192, struct.Struct("@Q")
_connect = ctypes.CDLL(None).connect
_NOWHERE = bytes(16)
"""An address of the family AF_UNSPEC: connected to it, a socket is so no more (connect(2))."""
_RECEIVED_AT = 128
"""`tcpi_bytes_received` of `struct tcp_info` (linux/tcp.h, since 4.1)."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection and its descriptor."""

    descriptor: int
    seen: Seen


class Sockets:
    """Those of one port."""

    def __init__(self, port: int) -> None:
        self._port = port

    def connections(self, files: Sequence[int]) -> Iterator[Connection]:
        """All of them."""
        for descriptor in files:
            with suppress(OSError), _borrowed(descriptor) as (sock, inode):
                if sock.family in _FAMILIES and sock.getsockname()[1] == self._port:
                    host, port = sock.getpeername()[:2]
                    connection = peers.connection_name(host, port)
                    peer = Peer(peers.site_of(host), connection)
                    yield Connection(descriptor, Seen(peer, inode, _received_bytes(sock)))

    @contextmanager
    def listening(self, files: Sequence[int]) -> Iterator[socket.socket | None]:
        """The one that takes connections; None: there is none."""
        for descriptor in files:
            with suppress(OSError), _borrowed(descriptor) as (sock, _):
                is_ours = sock.family in _FAMILIES and sock.getsockname()[1] == self._port
                if is_ours and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    yield sock
                    return
        yield None


def shut(connection: Connection) -> bool:
    """End a connection; gRPC, whose descriptor it is, then closes it. Whether it was there.

    What has arrived and was not read yet is dropped: a flood's would be read for seconds.
    """
    with suppress(OSError), _borrowed(connection.descriptor) as (_, inode):
        if inode == connection.seen.inode:
            return int(_connect(connection.descriptor, _NOWHERE, len(_NOWHERE))) == 0
    return False


def raise_file_limit() -> None:
    """Take as many open files as this process may have, up to what a server has use for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_files(limit: int) -> Sequence[int]:
    """Descriptors in use.

    Raises:
        OSError: there is no /proc.
    """
    try:
        return [int(name) for name in os.listdir(_DESCRIPTORS)]
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        # To list them takes one, and there is none left.
        return range(min(limit, _MAX_FILES))


def _received_bytes(sock: socket.socket) -> int:
    information = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    if len(information) < _RECEIVED_AT + _RECEIVED.size:
        return 0
    received: int = _RECEIVED.unpack_from(information, _RECEIVED_AT)[0]
    return received


@contextmanager
def _borrowed(descriptor: int) -> Iterator[tuple[socket.socket, int]]:
    """A socket of gRPC, not duplicated (there may be no descriptor left), and its inode.

    Raises:
        OSError: it is none, or closed.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISSOCK(status.st_mode):
        raise OSError("no socket")
    sock = socket.socket(fileno=descriptor)
    try:
        yield sock, status.st_ino
    finally:
        sock.detach()

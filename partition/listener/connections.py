"""The connections of a server: idle ones give way before new ones find no place.

gRPC closes none to make room. At the limit of open files it accepts no client until one goes by
itself, so that a client that opens enough of them and says nothing would shut all others out.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

logger = logging.getLogger(__name__)

_MAX_FILES = 65_536
"""Open files that a server asks for; more would only cost memory in an attack."""
_MAX_USED = 4_096
"""Files that are used before idle connections, of some 30 kB each, are closed."""
_FULL, _ENOUGH = 0.75, 0.5
"""Shares of the limit: above the one, idle connections are closed until the other is reached."""
_CHECK_PERIOD_S = 0.5
_DESCRIPTORS = "/proc/self/fd"
_MAPPED = "::ffff:"


@dataclass(slots=True)
class _Activity:
    calls: int = 0
    """That are open."""
    ended_s: float = 0.0
    """When the last one was."""


@dataclass(frozen=True, slots=True)
class _Connection:
    descriptor: int
    inode: int
    """Grows with time: the smaller, the older."""
    address: str
    peer: str
    """As gRPC writes it."""


class Connections:
    """Watches the connections of one server; safe to use from several threads.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._port = 0
        self._guard = threading.Lock()
        self._activity: dict[str, _Activity] = {}
        self._closed = threading.Event()

    def start(self, port: int) -> None:
        """Begin to watch those of a port, with as many files as this process may open."""
        self._port = port
        raise_file_limit()
        threading.Thread(target=self._watch, daemon=True, name="connections").start()

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()

    def began(self, peer: str) -> None:
        """A call that was let in has begun."""
        with self._guard:
            self._activity.setdefault(peer, _Activity()).calls += 1

    def ended(self, peer: str) -> None:
        """It has ended."""
        with self._guard:
            activity = self._activity[peer]
            activity.calls -= 1
            activity.ended_s = self._clock()

    def make_room(self) -> int:
        """Close idle connections if there are too many; returns how many were closed.

        Those of the address that has most of them come first, and of these the ones that have been
        of no use for longest.
        """
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        full = min(_FULL * limit, _MAX_USED)
        files = _open_files(limit)
        n_files = len(files)
        if n_files <= full:
            return 0
        surplus = n_files - int(full * _ENOUGH / _FULL)
        victims = self._victims(list(self._held(files)), surplus)
        closed = sum(map(_shut, victims))
        if closed:
            (address, n), *_ = Counter(each.address for each in victims).most_common(1)
            logger.warning(
                "closed %d idle connections, %d of them from %s: %d of %d files were open",
                *(closed, n, address, n_files, limit),
            )
        return closed

    def _watch(self) -> None:
        while not self._closed.wait(_CHECK_PERIOD_S):
            with suppress(OSError):
                self.make_room()
                self._forget()

    def _held(self, files: Sequence[int]) -> Iterator[_Connection]:
        for descriptor in files:
            with suppress(OSError), _borrowed(descriptor) as (sock, inode):
                if sock.family in (socket.AF_INET, socket.AF_INET6):
                    host, port = sock.getpeername()[:2]
                    host = host.removeprefix(_MAPPED)
                    if sock.getsockname()[1] == self._port:
                        yield _Connection(descriptor, inode, host, _peer(host, port))

    def _victims(self, held: list[_Connection], surplus: int) -> list[_Connection]:
        by_address = Counter(each.address for each in held)
        with self._guard:
            activity = dict(self._activity)

        def use(each: _Connection) -> tuple[int, float, int]:
            known = activity.get(each.peer)
            return -by_address[each.address], known.ended_s if known else 0.0, each.inode

        idle = [c for c in held if c.peer not in activity or activity[c.peer].calls == 0]
        return sorted(idle, key=use)[:surplus]

    def _forget(self) -> None:
        """Keep no more of past connections than there can be present ones."""
        with self._guard:
            if len(self._activity) > 2 * _MAX_USED:
                idle = [peer for peer, each in self._activity.items() if each.calls == 0]
                for peer in sorted(idle, key=lambda p: self._activity[p].ended_s)[:_MAX_USED]:
                    del self._activity[peer]


def raise_file_limit() -> None:
    """Take as many open files as this process may have, up to what a server has use for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _open_files(limit: int) -> Sequence[int]:
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


def _shut(connection: _Connection) -> bool:
    """End a connection; gRPC, whose descriptor it is, then closes it. Whether it was there."""
    with suppress(OSError), _borrowed(connection.descriptor) as (sock, inode):
        if inode == connection.inode:
            sock.shutdown(socket.SHUT_RDWR)
            return True
    return False


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


def _peer(host: str, port: int) -> str:
    """A peer in gRPC's words."""
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"

"""The connections of a server: floods are ended, idle ones give way before new ones find no place.

gRPC closes none to make room. At the limit of open files it accepts no client until one goes by
itself, so that a client that opens enough of them and says nothing would shut all others out. And
it takes in whatever a client sends, as fast as that can.
"""

from __future__ import annotations

import logging
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from partition.listener import kernel_filter, sockets
from partition.listener.conduct import ConductBook, excess_of
from partition.listener.peers import Peer
from partition.listener.refusal_log import RefusalLog
from partition.listener.sockets import Connection, Sockets

logger = logging.getLogger(__name__)

_MAX_USED = 4_096
"""Files that are used before idle connections, of some 30 kB each, are closed."""
_FULL, _ENOUGH = 0.75, 0.5
"""Shares of the limit: above the one, idle connections are closed until the other is reached."""
_CHECK_PERIOD_S = 0.1
_REST = 19.0
"""Times as long as a look took, at least, until the next: it takes a twentieth of a core."""


@dataclass(slots=True)
class _Activity:
    calls: int = 0
    """That are open."""
    ended_s: float = 0.0
    """When the last one was."""


class Connections:
    """Watches the connections of one server; safe to use from several threads.

    Args:
        message_bytes: of the largest message; None: no connection is ended as a flood.
        ended: called with the peer of each flood.
        calls: tells how many calls of a connection wait or run, of those that have some.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        message_bytes: float | None,
        ended: Callable[[Peer], object] = lambda _: None,
        calls: Callable[[], dict[Peer, int]] = dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._ended, self._calls = RefusalLog(), ended, calls
        self._clock = clock
        self._sockets = Sockets(0)
        self._guard = threading.Lock()
        self._activity: dict[Peer, _Activity] = {}
        self._book = ConductBook(excess_of(message_bytes or 0.0), clock())
        self._judges = message_bytes is not None
        self._waiting: list[str] = []
        self._closed = threading.Event()

    def start(self, port: int) -> None:
        """Begin to watch those of a port, with as many files as this process may open."""
        self._sockets = Sockets(port)
        sockets.raise_file_limit()
        threading.Thread(target=self._watch, daemon=True, name="connections").start()

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()

    def began(self, peer: Peer) -> None:
        """A call that was let in has begun."""
        with self._guard:
            self._activity.setdefault(peer, _Activity()).calls += 1

    def ended(self, peer: Peer) -> None:
        """It has ended."""
        with self._guard:
            activity = self._activity[peer]
            activity.calls -= 1
            activity.ended_s = self._clock()

    def heard(self, peer: Peer, message_bytes: int) -> None:
        """A message came whole."""
        with self._guard:
            self._book.heard(peer, message_bytes, self._clock())

    def answered(self, peer: Peer) -> None:
        """A call got what it asked for."""
        with self._guard:
            self._book.answered(peer, self._clock())

    def refused(self, peer: Peer) -> None:
        """A call was refused or ended."""
        with self._guard:
            self._book.refused(peer, self._clock())

    def look(self) -> None:
        """End floods, and idle connections if there are too many.

        Raises:
            OSError: the sockets cannot be found.
        """
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = sockets.open_files(limit)
        held = list(self._sockets.connections(files))
        self._end_floods(held, files)
        self._make_room(held, len(files), limit)
        self._forget()

    def _end_floods(self, held: Sequence[Connection], files: Sequence[int]) -> None:
        """End connections that flood the server, and let their addresses wait."""
        calls = self._calls()
        seen = [each.seen._replace(n_calls=calls.get(each.seen.peer, 0)) for each in held]
        with self._guard:
            floods, waiting = self._book.look(seen, self._clock())
        if not self._judges:
            return
        if waiting != self._waiting:  # first: who is ended comes back at once
            with self._sockets.listening(files) as listening:
                if listening is not None:
                    with suppress(OSError):  # without such filters there is only the ending
                        kernel_filter.refuse_from(listening, waiting)
            for address in set(waiting).difference(self._waiting):
                self._log.note(address, "it flooded this server: new connections have to wait")
            self._waiting = waiting
        by_peer = {each.seen.peer: each for each in held}
        for peer in floods:
            if sockets.shut(by_peer[peer]):
                self._log.note(peer.connection, "it floods this server: the connection is ended")
            self._ended(peer)

    def _make_room(self, held: Sequence[Connection], n_files: int, limit: int) -> None:
        """Close idle connections if there are too many.

        Those of the address that has most of them come first, and of these the ones that have been
        of no use for longest.
        """
        full = min(_FULL * limit, _MAX_USED)
        if n_files <= full:
            return
        victims = self._victims(held, n_files - int(full * _ENOUGH / _FULL))
        closed = sum(map(sockets.shut, victims))
        if closed:
            (address, n), *_ = Counter(each.seen.peer.address for each in victims).most_common(1)
            logger.warning(
                "closed %d idle connections, %d of them from %s: %d of %d files were open",
                *(closed, n, address, n_files, limit),
            )

    def _watch(self) -> None:
        rest_s = _CHECK_PERIOD_S
        while not self._closed.wait(rest_s):
            began_s = time.thread_time()  # a flood that keeps this thread waiting must not buy time
            with suppress(OSError):
                self.look()
            rest_s = max(_CHECK_PERIOD_S, _REST * (time.thread_time() - began_s))

    def _victims(self, held: Sequence[Connection], surplus: int) -> list[Connection]:
        by_address = Counter(each.seen.peer.address for each in held)
        with self._guard:
            activity = dict(self._activity)

        def use(each: Connection) -> tuple[int, float, int]:
            peer, known = each.seen.peer, activity.get(each.seen.peer)
            return -by_address[peer.address], known.ended_s if known else 0.0, each.seen.inode

        idle = [c for c in held if (a := activity.get(c.seen.peer)) is None or a.calls == 0]
        return sorted(idle, key=use)[:surplus]

    def _forget(self) -> None:
        """Keep no more of past connections than there can be present ones."""
        with self._guard:
            if len(self._activity) > 2 * _MAX_USED:
                idle = [peer for peer, each in self._activity.items() if each.calls == 0]
                for peer in sorted(idle, key=lambda p: self._activity[p].ended_s)[:_MAX_USED]:
                    del self._activity[peer]

"""HTTP/1.1 on addresses of this machine: a thread per connection, and as many as are bounded."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from partition.edge.http.body_room import BodyRoom
from partition.edge.http.connection import HttpConnection
from partition.edge.http.listening import UNIX, HttpAddress, HttpListener
from partition.edge.http.message import FindRoute
from partition.listener import peers
from partition.listener.fair_pool import ActiveThreads
from partition.listener.peers import Peer

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 256
"""Each has a thread; one more waits for a place, and the longest idle one goes for it."""
MAX_BODY_BYTES = 64 * 2**20
"""Of all requests together, and the most that one may have."""
_SPARED_S = 1.0
_LOOK_S = 0.1
_THIS_MACHINE = "127.0.0.1"
"""The address of who comes by a Unix socket, too: a connection's share depends on no door."""


class HttpServer:
    """Listens until it is stopped.

    Args:
        listen: addresses.
        find_route: what answers a request; called in many threads.
        max_connections: at the same time.

    Attributes:
        addresses: that are listened on.
        room: for bodies.
        is_stopping: whether connections end with their next response.

    Raises:
        CloudError: an address is in use or not permitted.
    """

    def __init__(
        self,
        listen: Sequence[HttpAddress],
        find_route: FindRoute,
        *,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.find_route, self._max_connections = find_route, max_connections
        self.room, self.is_stopping = BodyRoom(MAX_BODY_BYTES), False
        self._changed = threading.Condition()
        self._open: set[HttpConnection] = set()
        self._idle: OrderedDict[HttpConnection, float] = OrderedDict()  # since when, longest first
        self._active = ActiveThreads()
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self._listeners: list[HttpListener] = []
        try:
            for address in listen:
                self._listeners.append(HttpListener(address))
        except BaseException:
            self._close_listeners()
            raise
        self.addresses = tuple(listener.address for listener in self._listeners)

    def start(self) -> None:
        """Begin to answer."""
        for listener in self._listeners:
            thread = threading.Thread(
                target=self._accept, args=(listener,), daemon=True, name="http-accept"
            )
            thread.start()
            self._threads.append(thread)

    def stop(self, drain_s: float) -> None:
        """Take no more connections, let requests be answered for so long, and end the others."""
        with self._changed:
            self.is_stopping = True
            idle = list(self._idle)
            self._changed.notify_all()
        self._close_listeners()
        for connection in idle:
            connection.end()
        with self._changed:
            self._changed.wait_for(lambda: not self._open, drain_s)
            left = list(self._open)
        for connection in left:
            connection.end()
        for thread in self._threads:
            thread.join()

    def is_idle(self, connection: HttpConnection) -> None:
        """A connection waits for a request and may be ended."""
        with self._changed:
            self._idle[connection] = time.monotonic()

    def is_busy(self, connection: HttpConnection) -> None:
        """It has one."""
        with self._changed:
            self._idle.pop(connection, None)

    def _accept(self, listener: HttpListener) -> None:
        while not self.is_stopping:
            try:
                sock, name = listener.socket.accept()
            except OSError:  # no file is left, the client has gone, or this server stops
                time.sleep(0.0 if self.is_stopping else _LOOK_S)
                continue
            if not self._begin(sock, name, listener):
                sock.close()

    def _begin(self, sock: socket.socket, name: Any, listener: HttpListener) -> bool:
        """Serve a connection in a thread of its own, once there is a place; whether it is."""
        if not listener.is_unix:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = self._peer(name, listener)
        connection = HttpConnection(sock, peer, self, is_unix=listener.is_unix)
        if not self._take_place(connection):
            return False
        thread = threading.Thread(target=self._serve, args=(connection,), daemon=True, name="http")
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:  # the system gives no more threads
            logger.warning("an application was not answered: %s", error)
            self._leave(connection)
            return False
        return True

    def _take_place(self, connection: HttpConnection) -> bool:
        """Wait for a place, at the cost of whoever is idle longest; False: the server stops."""
        with self._changed:
            while len(self._open) >= self._max_connections and not self.is_stopping:
                self._end_idle()
                self._changed.wait(_LOOK_S)
            if not self.is_stopping:
                self._open.add(connection)
            return not self.is_stopping

    def _end_idle(self) -> None:
        """End the connection that is idle longest, unless its next request may be under way."""
        oldest = next(iter(self._idle), None)
        if oldest is not None and time.monotonic() - self._idle[oldest] >= _SPARED_S:
            del self._idle[oldest]
            oldest.end()

    def _serve(self, connection: HttpConnection) -> None:
        try:
            # As of gRPC's calls: a hundred that want the interpreter keep it from the board's loop.
            with self._active.joined():
                connection.serve()
        finally:
            self._leave(connection)

    def _leave(self, connection: HttpConnection) -> None:
        with self._changed:
            self._idle.pop(connection, None)
            self._open.discard(connection)
            self._changed.notify_all()

    def _peer(self, name: Any, listener: HttpListener) -> Peer:
        if listener.is_unix:
            return Peer(_THIS_MACHINE, f"{UNIX}{next(self._numbers)}")
        host, port = name[:2]
        return peers.parse(peers.connection_name(host, port))

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()

"""A TCP relay that can go on acknowledging old connections while it swallows what they carry."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class SwallowingRelay:
    """Relays connections from a port of 127.0.0.1 to an address; a context manager.

    Attributes:
        port: that is listened on.
        heard: first bytes of each connection.
    """

    def __init__(self, target: tuple[str, int]):
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.heard: list[bytes] = []
        self._sockets: list[socket.socket] = []
        self._swallowed = 0

    def __enter__(self) -> SwallowingRelay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def swallow(self) -> None:
        """From now on nothing passes on the connections that there are; new ones are relayed."""
        self._swallowed = len(self._sockets)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target, timeout=5)
            except OSError:  # closed
                return
            number = len(self._sockets)
            self._sockets += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(number, *pair), daemon=True).start()

    def _pump(self, number: int, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):  # read, and so acknowledged, in any case
                if number >= self._swallowed:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

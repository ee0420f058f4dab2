"""TCP relay that lets the uplink through at a chosen rate; for demos and tests, needs no root."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType

CHUNK_BYTES = 2048
# Small socket buffers, or the relay would swallow a whole request at full speed.
_BUFFER_BYTES = 8192
# What a late wake-up may catch up with; without it, the rate would fall short.
_BURST_S = 0.002


class ShapedLink:
    """Relays connections to a local port; a context manager.

    Attributes:
        rate_bps: uplink rate in bits per second; may be changed at any time.
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, target_port: int, rate_bps: float) -> None:
        """Listen on a free port."""
        self.rate_bps = rate_bps
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> ShapedLink:
        """Begin to relay."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cut every connection."""
        for each in (self._listener, *self._sockets):
            _shut(each)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:  # the target is down; the next connection may find it up
                _shut(near)
                continue
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [near, far]
            threading.Thread(
                target=self._pump, args=(near, far), kwargs={"shaped": True}, daemon=True
            ).start()
            threading.Thread(
                target=self._pump, args=(far, near), kwargs={"shaped": False}, daemon=True
            ).start()

    def _pump(self, source: socket.socket, sink: socket.socket, *, shaped: bool) -> None:
        free_s = 0.0
        with suppress(OSError):  # either end is gone
            while chunk := source.recv(CHUNK_BYTES):
                if shaped:
                    free_s = (
                        max(free_s, time.monotonic() - _BURST_S) + 8 * len(chunk) / self.rate_bps
                    )
                    time.sleep(max(free_s - time.monotonic(), 0.0))
                sink.sendall(chunk)
        _shut(source)
        _shut(sink)


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):  # not connected any more
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()

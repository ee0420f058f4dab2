"""A TCP relay with a delay each way and pauses as lost packets cause them; needs no root."""

from __future__ import annotations

import queue
import random
import socket
import threading
import time
from contextlib import suppress

CHUNK_BYTES = 16_384
_RETRANSMISSION_S = 0.2
"""What TCP waits before it sends again, at least."""


class DelayProxy:
    """Relays connections from a port of 127.0.0.1 to an address; a context manager.

    Attributes:
        delay_s: of each byte, each way; may be changed at any time.
        loss: probability that a chunk of 16 kB has to be sent again.
        is_cut: swallows everything while true, without a word to either side.
    """

    def __init__(self, target: tuple[str, int], delay_s: float = 0.0, loss: float = 0.0, seed=0):
        self.delay_s, self.loss, self.is_cut = delay_s, loss, False
        self._target = target
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> DelayProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        _shut(self._listener)
        self.reset()

    def reset(self) -> None:
        """Break every connection."""
        sockets, self._sockets = self._sockets, []
        for each in sockets:
            _shut(each)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed
                return
            if self.is_cut:
                self._sockets.append(near)
                continue
            try:
                far = socket.create_connection(self._target, timeout=5)
            except OSError:  # the target is down
                _shut(near)
                continue
            far.settimeout(None)
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                chunks: queue.Queue[tuple[float, bytes]] = queue.Queue(512)
                threading.Thread(target=self._read, args=(source, chunks), daemon=True).start()
                threading.Thread(target=self._write, args=(sink, chunks), daemon=True).start()

    def _read(self, source: socket.socket, chunks: queue.Queue[tuple[float, bytes]]) -> None:
        due_s = 0.0
        with suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                if self.is_cut:
                    continue
                lost = self._random.random() < self.loss
                now_s = time.monotonic()
                due_s = max(due_s, now_s + self.delay_s + lost * _RETRANSMISSION_S)
                chunks.put((due_s, chunk))
        chunks.put((0.0, b""))

    def _write(self, sink: socket.socket, chunks: queue.Queue[tuple[float, bytes]]) -> None:
        with suppress(OSError):
            while True:
                due_s, chunk = chunks.get()
                if not chunk:
                    break
                time.sleep(max(due_s - time.monotonic(), 0.0))
                sink.sendall(chunk)
        _shut(sink)


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()

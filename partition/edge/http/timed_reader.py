"""Reading side of a socket that lets a client take neither for ever nor without end."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from typing import Any

from partition.listener import fair_pool


class TooManyBytesError(Exception):
    """A client sends more than it may."""


class TimedReader(io.RawIOBase):
    """Reads of a socket until a moment, and up to a number of bytes.

    A time-out of the socket alone begins anew with each byte: a client that sends one now and then
    would hold a thread for ever.

    Args:
        sock: connected.
        clock: monotonic seconds.
    """

    def __init__(self, sock: socket.socket, clock: Callable[[], float] = time.monotonic) -> None:
        self._sock, self._clock = sock, clock
        self._due_s, self._bytes_left = 0.0, 0

    def allow(self, seconds: float, n_bytes: int) -> None:
        """From now on so long, and so many bytes more."""
        self._due_s, self._bytes_left = self._clock() + seconds, n_bytes

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """What has come, up to what fits.

        Raises:
            TimeoutError: nothing came in time.
            TooManyBytesError: no more may come.
            OSError: the connection broke.
        """
        left_s = self._due_s - self._clock()
        if left_s <= 0.0:
            raise TimeoutError
        if self._bytes_left <= 0:
            raise TooManyBytesError
        with fair_pool.aside():
            self._sock.settimeout(left_s)
            n_bytes = self._sock.recv_into(buffer, min(len(buffer), self._bytes_left))
        self._bytes_left -= n_bytes
        return n_bytes

"""Turns of a client's requests: so many at once, and how many are under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from partition.errors import ServerBusyError
from partition.transport import grpc_options


class Turns:
    """Lets as many requests go at once as a server takes; safe to use from several threads.

    Args:
        address: of the server, to be named.
        clock: monotonic seconds.

    Attributes:
        n_taken: requests that are under way.
    """

    def __init__(self, address: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._address, self._clock = address, clock
        self._free = threading.BoundedSemaphore(grpc_options.CALLS_AT_ONCE)
        self._counting = threading.Lock()
        self.n_taken = 0

    def wait(self, patience_s: float) -> float:
        """Wait for a turn, to be used with `taken`; the time that took, s.

        Raises:
            ServerBusyError: it takes all the time there is.
        """
        if self._free.acquire(blocking=False):
            return 0.0
        start_s = self._clock()
        if not self._free.acquire(timeout=patience_s):
            raise ServerBusyError(f"{self._address} is busy with this client's other requests")
        return min(self._clock() - start_s, patience_s)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """The turn that was waited for; free again afterwards."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)
            self._free.release()

    def _count(self, change: int) -> None:
        with self._counting:
            self.n_taken += change

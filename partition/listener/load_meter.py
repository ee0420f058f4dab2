"""Load of a server's workers."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

_TIME_CONSTANT_S = 1.0


class LoadMeter:
    """Busy share of some workers over the last second; safe to use from several threads.

    Args:
        workers: what can be done at the same time.
        clock: monotonic seconds.
    """

    def __init__(self, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = workers
        self._clock = clock
        self._guard = threading.Lock()
        self._pending = 0
        self._load = 0.0
        self._updated_s = clock()

    def begin(self) -> None:
        """A request came in."""
        self._count(1)

    def end(self) -> None:
        """A request left, answered or not."""
        self._count(-1)

    def read(self) -> tuple[float, int]:
        """Busy share, 0..1, and requests pending, those in work included."""
        self._count(0)
        return self._load, self._pending

    def _count(self, change: int) -> None:
        with self._guard:
            now_s = self._clock()
            keep = math.exp((self._updated_s - now_s) / _TIME_CONSTANT_S)
            busy = min(self._pending, self._workers) / self._workers
            self._load = keep * self._load + (1 - keep) * busy
            self._updated_s = now_s
            self._pending += change

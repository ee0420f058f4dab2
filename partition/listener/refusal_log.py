"""Rate-limited log of refused callers: who and why."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

_PERIOD_S = 60.0
_LINES = 10
"""In a period: an attack must not fill the disk."""


class RefusalLog:
    """Warns of refusals, the first few of each minute one by one and the others as a number.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._period_end_s = 0.0
        self._told = self._untold = 0

    def note(self, peer: str, reason: str) -> None:
        """A refusal.

        Args:
            peer: address and port, as gRPC writes them.
            reason: why.
        """
        with self._guard:
            now_s = self._clock()
            untold = 0
            if now_s >= self._period_end_s:
                untold, self._untold, self._told = self._untold, 0, 0
                self._period_end_s = now_s + _PERIOD_S
            tell = self._told < _LINES
            self._told += tell
            self._untold += not tell
        if untold:
            logger.warning("refused %d others before", untold)
        if tell:
            logger.warning("refused %s: %s", peer, reason)

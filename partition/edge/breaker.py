"""Circuit breaker: when to leave a server alone, and when to try it again."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

_FIRST_PAUSE_S = 0.05
_MAX_PAUSE_S = 0.5


class CircuitBreaker:
    """Open after a failure, so that a dead server does not cost a deadline each time.

    An open breaker refuses every call until a caller finds that the server answers (a probe, which
    costs no request), or until a pause is over. Safe to use from several threads.

    Args:
        clock: monotonic seconds.

    Attributes:
        reason: of the last failure, in a word.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._n_pauses = 0
        self._until_s = -math.inf
        self.reason = ""

    def check(self) -> str | None:
        """Why no call may be made now, in words; None lets the caller try."""
        wait_s = self._until_s - self._clock()
        if wait_s <= 0:
            return None
        when = "once a probe gets through" if math.isinf(wait_s) else f"in {wait_s:.2f} s"
        return f"failed a moment ago ({self.reason}): next try {when}"

    def close(self) -> None:
        """A request was answered."""
        with self._lock:
            self._n_pauses, self._until_s = 0, -math.inf

    def open(self, reason: str) -> None:
        """No request was answered: wait for a probe to close."""
        with self._lock:
            self._until_s, self.reason = math.inf, reason

    def pause(self, reason: str, max_pause_s: float = _MAX_PAUSE_S) -> None:
        """The server has no use for requests just now: wait, longer each time, up to 0.5 s.

        Args:
            reason: in a word.
            max_pause_s: another longest wait.
        """
        with self._lock:
            pause_s = min(_FIRST_PAUSE_S * 2.0**self._n_pauses, max_pause_s)
            self._n_pauses = min(self._n_pauses + 1, 8)
            self._until_s = max(self._until_s, self._clock() + pause_s)
            self.reason = reason

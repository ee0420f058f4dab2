"""The rate of a link, seen from frames that are sent anyway."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

_FRAMES = 8


class LinkMeter:
    """Times frames from handing them over to the news of their arrival.

    A frame behind another begins when the other has arrived. What a busy processor adds makes the
    link look slower, never faster, so the fastest of the last frames counts.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._sent: deque[tuple[int, int, float]] = deque()  # number, bytes, when
        self._free_s = 0.0
        self._rates_bps: deque[float] = deque(maxlen=_FRAMES)

    def sent(self, number: int, n_bytes: int) -> None:
        """A frame was handed over."""
        with self._guard:
            self._sent.append((number, n_bytes, self._clock()))

    def arrived(self, number: int) -> None:
        """A frame has arrived; they do so in order."""
        with self._guard:
            while self._sent and self._sent[0][0] <= number:
                _, n_bytes, sent_s = self._sent.popleft()
                now_s = self._clock()
                elapsed_s = max(now_s - max(sent_s, self._free_s), 1e-9)
                self._free_s = now_s
                self._rates_bps.append(8 * n_bytes / elapsed_s)

    @property
    def rate_bps(self) -> float | None:
        """None until enough frames have arrived."""
        with self._guard:
            return max(self._rates_bps) if len(self._rates_bps) == _FRAMES else None

"""What happened lately, in sentences."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_KEPT = 100
_LONGEST = 1000
"""Characters of a sentence; an error of somebody else's code may be as long as it likes."""


class EventLog(logging.Handler):
    """Keeps the last warnings and errors of this process, and what else it is told.

    Safe to use from several threads.

    Args:
        clock: time of day, s since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._events: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._guard = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record of the standard library's logging."""
        try:
            text = record.getMessage()
        except Exception:  # of arguments that do not fit, or cannot be shown
            self.handleError(record)
        else:
            self.add(text, record.levelname.lower())

    def add(self, text: str, level: str = "info") -> None:
        """Keep a sentence."""
        event = {"time_s": self._clock(), "level": level, "text": text[:_LONGEST]}
        with self._guard:
            self._events.append(event)

    def document(self) -> list[dict[str, Any]]:
        """Plain values, the oldest first: `time_s` since 1970, `level` and `text`."""
        with self._guard:
            return list(self._events)


@contextmanager
def events_kept() -> Iterator[EventLog]:
    """Keep what is logged within."""
    log, root = EventLog(), logging.getLogger()
    root.addHandler(log)
    try:
        yield log
    finally:
        root.removeHandler(log)

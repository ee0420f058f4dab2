"""Progress of work that may take minutes; what is soon done says nothing.

Lines of the log, now and then. On a terminal one line on stderr that goes on from second to second
instead, so that a long step is seen to run. Nothing goes to stdout, where results are.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

logger = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")

FIRST_LINE_S = 5.0
_EVERY_S = 20.0
_EVERY_ON_TERMINAL_S = 1.0
_LEAST_BETWEEN_S = 1.0
_COLUMNS = 80
"""Of a terminal that does not tell."""


class Progress:
    """What is said about a piece of work once it has taken `FIRST_LINE_S`; a context manager.

    Args:
        work: what is done, at the beginning of each line.
        n_steps: how many steps it has.
        first_line_s: until the first line. Then there is one for each step, unless they come
            faster than one a second, and one now and then of a long one or of many that are alike;
            with 0 for each step.
    """

    def __init__(self, work: str, n_steps: int, first_line_s: float = FIRST_LINE_S) -> None:
        self._work, self._n_steps, self._first_line_s = work, n_steps, first_line_s
        self._step, self._name, self._are_alike = 0, "", False
        self._terminal = sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None
        self._began_s = self._told_s = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._report, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; what was reported is ended by a last line."""
        self._over.set()
        self._thread.join()
        seconds = time.monotonic() - self._began_s
        if seconds < self._first_line_s:
            return
        self._draw("")
        if kind is None:
            logger.warning("%s: done in %s", self._work, duration(seconds))

    def step(self, name: str = "") -> None:
        """The next step begins."""
        self._step, self._name = self._step + 1, name
        now_s = time.monotonic()
        between_s = _EVERY_S if self._are_alike else _LEAST_BETWEEN_S
        is_due = self._first_line_s == 0.0 or now_s - self._told_s >= between_s
        if is_due and now_s - self._began_s >= self._first_line_s:
            self._tell()

    def each(self, items: Sequence[ItemT]) -> Iterator[ItemT]:
        """Items with a step for each, all of which take about as long: what is left is said."""
        self._are_alike = True
        for item in items:
            self.step()
            yield item

    def _report(self) -> None:
        every_s = _EVERY_ON_TERMINAL_S if self._terminal else _EVERY_S
        wait_s = self._first_line_s or every_s
        while not self._over.wait(wait_s):
            wait_s = every_s
            self._tell()

    def _tell(self) -> None:
        self._told_s = time.monotonic()
        text = self._text(self._told_s - self._began_s)
        if self._terminal:
            self._draw(text)
        else:
            logger.warning("%s", text)

    def _text(self, seconds: float) -> str:
        name = f" ({self._name})" if self._name else ""
        text = f"{self._work}: {self._step} of {self._n_steps}{name}, {duration(seconds)} so far"
        n_done = self._step - 1
        if not self._are_alike or n_done < 1:
            return text
        left_s = max(seconds / n_done * self._n_steps - seconds, 0.0)
        return f"{text}, about {duration(left_s)} left"

    def _draw(self, text: str) -> None:
        """Put a text in the place of the last one, and the cursor where others go on."""
        if self._terminal is None:
            return
        with suppress(OSError, ValueError):  # its reader is gone
            self._terminal.write(f"\r{text[: _columns() - 1]}\x1b[K\r")
            self._terminal.flush()


def _columns() -> int:
    with suppress(OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
    return _COLUMNS


def duration(seconds: float) -> str:
    """A time in words, in the unit that suits it."""
    if seconds < 100.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 6000.0 else f"{seconds / 3600.0:.1f} h"

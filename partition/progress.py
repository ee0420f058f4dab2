"""Progress of a start that may take minutes; one that does not says nothing."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

logger = logging.getLogger(__name__)

FIRST_LINE_S = 5.0
EVERY_S = 20.0


class Progress:
    """Lines about a piece of work once it has taken `FIRST_LINE_S`; a context manager.

    Args:
        work: what is done, at the beginning of each line.
        n_steps: how many steps it has.
        first_line_s: until the first line. Then there is one for each step, unless they come
            faster than one a second, and every `EVERY_S` of a long one; with 0 for each step.
    """

    def __init__(self, work: str, n_steps: int, first_line_s: float = FIRST_LINE_S) -> None:
        self._work = work
        self._n_steps = n_steps
        self._first_line_s = first_line_s
        self._step, self._name = 0, ""
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
        if kind is None and seconds >= self._first_line_s:
            logger.warning("%s: done in %.0f s", self._work, seconds)

    def step(self, name: str) -> None:
        """The next step begins."""
        self._step, self._name = self._step + 1, name
        now_s = time.monotonic()
        is_due = self._first_line_s == 0.0 or now_s - self._told_s >= 1.0
        if is_due and now_s - self._began_s >= self._first_line_s:
            self._tell()

    def _report(self) -> None:
        wait_s = self._first_line_s or EVERY_S
        while not self._over.wait(wait_s):
            wait_s = EVERY_S
            self._tell()

    def _tell(self) -> None:
        self._told_s = time.monotonic()
        logger.warning(
            "%s: %d of %d (%s), %.0f s so far",
            self._work,
            self._step,
            self._n_steps,
            self._name,
            self._told_s - self._began_s,
        )

"""Signs of life of a command that may take long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

Report = Callable[[str], object]
"""Called with what is being done now."""
_QUIET_S = 5.0


def silent(_: str) -> None:
    """Report nothing."""


class Progress:
    """Says on stderr every five seconds what is being done; a context manager.

    Args:
        what: the whole of it, as "preparing x".
        quiet_s: seconds between two lines, and before the first.
    """

    def __init__(self, what: str, quiet_s: float = _QUIET_S) -> None:
        self._what = what
        self._quiet_s = quiet_s
        self._stage = "reading it"
        self._done = threading.Event()
        self._start_s = time.monotonic()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> Progress:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Be silent from now on."""
        self._done.set()
        self._thread.join()

    def report(self, stage: str) -> None:
        """Note what is being done now."""
        self._stage = stage

    def _tell(self) -> None:
        while not self._done.wait(self._quiet_s):
            passed_s = time.monotonic() - self._start_s
            # Not on stdout, which may be read by a program.
            print(f"{self._what}, {passed_s:.0f} s: {self._stage}", file=sys.stderr)

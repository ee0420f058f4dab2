"""A question to a server that is repeated in the background until it is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from partition.errors import CloudError
from partition.transport import refusals

_PACE_S = 0.2
"""Between two questions where no server answers, so that a peer that hangs up at once is not asked
in a loop, and yet one that comes back is found within half a second."""
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.3, 5.0
"""After refusals, twice as long each time: what a person has to mend takes longer."""


class Reconnection:
    """Asks one question at a time; safe to use from several threads.

    Args:
        ask: starts it and returns gRPC's future; raises ValueError once the channel is closed.
        judge: what is wrong with a call that ended; None if nothing is.
        found: called after an answer.
        failed: called with each failure.
    """

    def __init__(
        self,
        ask: Callable[[], Any],
        judge: Callable[[Any], CloudError | None],
        found: Callable[[], object],
        failed: Callable[[CloudError], object],
    ) -> None:
        self._question, self._judge = ask, judge
        self._found, self._failed = found, failed
        self._asking = threading.Lock()
        self._closed = threading.Event()
        self._n_refusals = 0
        self._asked_s = 0.0

    def start(self, *, is_refused: bool = False) -> None:
        """Begin to ask, unless that is under way; a server that refused gets a pause first."""
        if self._asking.acquire(blocking=False):
            self._wait(self._refused_s() if is_refused else 0.0)

    def served(self) -> None:
        """Begin the pauses again: the server has served a request."""
        self._n_refusals = 0

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()

    def _wait(self, pause_s: float) -> None:
        if pause_s <= 0.0:
            self._ask()
            return
        timer = threading.Timer(pause_s, self._ask)
        timer.daemon = True
        timer.start()

    def _ask(self) -> None:
        """Holds `_asking` until there is an answer."""
        self._asked_s = time.monotonic()
        try:
            call = None if self._closed.is_set() else self._question()
        except ValueError:  # closed meanwhile
            call = None
        if call is None:
            self._asking.release()
        else:
            call.add_done_callback(self._asked)

    def _asked(self, call: Any) -> None:
        """Runs in a thread of gRPC's."""
        failure = self._judge(call)
        if failure is None:
            self._asking.release()  # first: a failure from now on has to be able to start it again
            self._found()
            return
        self._failed(failure)
        if refusals.is_refusal(failure):
            self._wait(self._refused_s())
        else:
            self._wait(self._asked_s + _PACE_S - time.monotonic())

    def _refused_s(self) -> float:
        pause_s = min(_FIRST_PAUSE_S * 2.0**self._n_refusals, _MAX_PAUSE_S)
        self._n_refusals = min(self._n_refusals + 1, 8)
        return pause_s

"""Concurrent decisions on a live board: computed in a thread of their own while the board goes on.

A mailbox of one: a newer observation replaces one that has not been taken up yet, and the action in
force stays until the next one is there (Xiao et al., ICLR 2020, arXiv 2004.06089).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from agents.deployed.board_decider import BoardDecider
from agents.errors import AgentError
from envs.plant import Indices

PATIENCE_S = 0.02
"""A decision that takes longer comes a step later, rather than keep requests waiting."""
STOP_S = 5.0
"""A thread that does not end within this time after it was told to is an error."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What came out of a thought.

    Attributes:
        action: chosen, shape (n_axes,).
        selection_s: time from the observation to the action, t_AS.
        number: of the observation it was made for; 0 where none was.
    """

    action: Indices
    selection_s: float
    number: int = 0


class ConcurrentDecider:
    """Runs a decider in a thread; whatever it raises reaches the next caller."""

    def __init__(self, decider: BoardDecider, first: Indices) -> None:
        """Start the thread; `first` is in force until the first thought is done."""
        self._decider = decider
        self._asked = self._late = 0
        self._changed = threading.Condition()
        self._posted, self._waiting = 0, False
        self._observation: NDArray[np.float32] | None = None
        self._latest = Decision(first, 0.0)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._think, name="decider", daemon=True)
        self._thread.start()

    def __enter__(self) -> ConcurrentDecider:
        """Enter the context."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the thread."""
        self.close()

    def post(self, observation: NDArray[np.float32]) -> None:
        """Give the thread something newer to think about; never waits.

        Raises:
            BaseException: what the last thought raised.
        """
        self._check()
        self._put(observation.copy())

    def account(self, asked: int, late: int) -> None:
        """Tell the decider, before its next thought, of requests that ended; never waits.

        Args:
            asked: how many there were.
            late: of these, the ones that were not answered in time.
        """
        with self._changed:
            self._asked += asked
            self._late += late

    @property
    def has_ended(self) -> bool:
        """Whether the thread is over, after an error."""
        return not self._thread.is_alive()

    def latest(self) -> Decision:
        """The newest decision; never waits.

        Raises:
            BaseException: what the last thought raised.
        """
        self._check()
        return self._latest

    def wait(self, timeout_s: float) -> Decision:
        """The decision for what was posted last, or the newest one where that takes too long.

        Raises:
            BaseException: what the last thought raised.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._error or self._latest.number == self._posted, timeout_s
            )
        return self.latest()

    def close(self) -> None:
        """Stop the thread.

        Raises:
            AgentError: it does not stop.
        """
        self._put(None)
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            raise AgentError(
                f"a decision has not come to its end within {STOP_S:g} s; the board has been given "
                f"back, deploy another policy"
            )

    def _put(self, observation: NDArray[np.float32] | None) -> None:
        with self._changed:
            self._observation, self._waiting = observation, True
            self._posted += 1
            self._changed.notify_all()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _take(self) -> tuple[NDArray[np.float32] | None, int, tuple[int, int]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            self._waiting = False
            ended, self._asked, self._late = (self._asked, self._late), 0, 0
            return self._observation, self._posted, ended

    def _think(self) -> None:
        while True:
            observation, number, ended = self._take()
            if observation is None:
                return
            began_s = time.perf_counter()
            try:
                self._decider.account(*ended)
                action = self._decider.decide(observation).copy()
            except BaseException as error:
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._latest = Decision(action, time.perf_counter() - began_s, number)
                self._changed.notify_all()

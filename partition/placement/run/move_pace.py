"""Pace of moves: measurements that contradict one another do not keep stages moving."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_S = 10.0
"""After a move that was made because of a measurement, until the next one of that kind."""
MOST_S = 600.0


class MovePace:
    """Pause between moves for what was measured, twice as long after each that follows at once.

    A device takes one time in one stage and another in the next, as far as the cluster file is
    wrong about single blocks; each move tells more of them apart, and may ask for another one.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pause_s = 0.0
        self._until_s = clock()

    @property
    def allows(self) -> bool:
        """Whether the pause is over."""
        return self._clock() >= self._until_s

    def moved(self) -> None:
        """Begin a pause."""
        now_s = self._clock()
        is_calm = now_s >= self._until_s + self._pause_s
        self._pause_s = FIRST_S if is_calm else min(2 * self._pause_s, MOST_S)
        self._until_s = now_s + self._pause_s

"""Retreat from a clock that another program sets."""

from __future__ import annotations

from collections.abc import Callable

FIRST_RETREAT_S = 10.0
LONGEST_RETREAT_S = 600.0


class Retreat:
    """A wait that doubles with each conflict, and begins again after a quiet time.

    Args:
        clock: present time, s.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until_s = 0.0
        self._next_s = FIRST_RETREAT_S

    def is_on(self) -> bool:
        """Whether the clock is left to the other program."""
        return self._clock() < self._until_s

    def begin(self) -> None:
        """Wait from now on."""
        now_s = self._clock()
        if now_s - self._until_s > self._next_s:
            self._next_s = FIRST_RETREAT_S
        self._until_s = now_s + self._next_s
        self._next_s = min(2 * self._next_s, LONGEST_RETREAT_S)

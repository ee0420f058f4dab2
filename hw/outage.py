"""Outages: failures in a row of one thing, reported when they begin, last and end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

PATIENCE = 8
"""Failures in a row that are bridged, 2 s of control steps: a failed I2C transfer is over after
one, a change of the power mode or a driver that is loaded again after a second."""
QUIET_S = 60.0
"""A thing that fails now and then is reported once in this time, not at every failure."""


class Outage:
    """Counts failures of one thing and reports them.

    Args:
        what: the thing, as the beginning of a sentence.
        meanwhile: what stands in for it from the first failure on.
        lasting: what is done once `PATIENCE` failures came in a row; None if nothing more is.
        tell: takes one sentence.
        clock: present time, s.

    Attributes:
        n_failures: since the start.
    """

    def __init__(
        self,
        what: str,
        meanwhile: str,
        lasting: str | None = None,
        *,
        tell: Callable[[str], object] = logger.warning,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.n_failures = 0
        self._what, self._meanwhile, self._lasting = what, meanwhile, lasting
        self._tell, self._clock = tell, clock
        self._n_in_a_row = self._n_untold = 0
        self._is_told = False
        self._quiet_until_s = -float("inf")

    @property
    def is_on(self) -> bool:
        """Whether the last attempt failed."""
        return self._n_in_a_row > 0

    @property
    def is_lasting(self) -> bool:
        """Whether so many attempts in a row failed that the last value no longer counts."""
        return self._n_in_a_row >= PATIENCE

    def failed(self, reason: object) -> None:
        """Count one more failure."""
        self._n_in_a_row += 1
        self.n_failures += 1
        if not self._is_told and self._clock() >= self._quiet_until_s:
            more = f" ({self._n_untold} more since the last report)" if self._n_untold else ""
            self._tell(f"{self._what} failed{more}: {reason}; {self._meanwhile}")
            self._is_told, self._n_untold = True, 0
            self._quiet_until_s = self._clock() + QUIET_S
        elif not self._is_told:
            self._n_untold += 1
        if self._n_in_a_row == PATIENCE and self._lasting is not None:
            self._tell(f"{self._what} failed {PATIENCE} times in a row: {reason}; {self._lasting}")
            self._is_told = True

    def worked(self) -> None:
        """End the row, if there was one."""
        if self._is_told:
            n = self._n_in_a_row
            after = "one failure" if n == 1 else f"{n} failures in a row"
            self._tell(f"{self._what} works again after {after}")
        self._n_in_a_row, self._is_told = 0, False

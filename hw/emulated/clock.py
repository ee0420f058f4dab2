"""One clock of the emulated machine: what is asked of it, and its governor."""

from __future__ import annotations

import math

import numpy as np

from hw.base import Applied, Cause
from hw.emulated.machine import CLOCKS
from hw.governors.schedutil import Schedutil


class EmulatedClock:
    """A clock that follows requests after a delay, and its governor when none holds it.

    Knows no time of its own: `advance` is called at every `until_event_s`.

    Args:
        name: of the clock.
        caps_only: a request is an upper limit, below which the governor chooses.

    Attributes:
        name: of the clock.
        available_hz: ascending operating points.
        hz: in force.
    """

    def __init__(self, name: str, *, caps_only: bool) -> None:
        table = CLOCKS[name]
        self.available_hz, self._delay_s = table.available_hz, table.delay_s
        self.name, self.hz = name, self.available_hz[0]
        self._caps_only = caps_only
        self._asked_hz: int | None = None
        self._coming: tuple[float, int] | None = None
        self._limit_hz = self.available_hz[-1]
        self._governor = self._fresh_governor()

    @property
    def speed(self) -> float:
        """Clock in force over the highest."""
        return self.hz / self.available_hz[-1]

    @property
    def is_governed(self) -> bool:
        """Whether its governor chooses the clock."""
        return self._asked_hz is None or self._caps_only

    def until_event_s(self, now_s: float) -> float:
        """Time until it may change by itself, s."""
        coming_s = math.inf if self._coming is None else self._coming[0] - now_s
        return min(coming_s, self._governor.until_choice_s if self.is_governed else math.inf)

    def request(self, freq_hz: int, now_s: float) -> Applied:
        """Ask for the operating point nearest to a frequency; it is in force after the delay."""
        target_hz = min(self.available_hz, key=lambda hz: abs(hz - freq_hz))
        self._coming = now_s + self._delay_s, target_hz
        return self._became(target_hz)

    def verify(self) -> Applied | None:
        """What became of the last request; None if there was none."""
        asked_hz = self._asked_hz if self._coming is None else self._coming[1]
        return None if asked_hz is None else self._became(asked_hz)

    def give_back(self) -> None:
        """Leave it to its governor, without a limit, as it was before any request."""
        self._asked_hz = self._coming = None
        self._governor = self._fresh_governor()

    def advance(self, dt_s: float, end_s: float, limit_hz: float, *, is_busy: bool) -> None:
        """Let some time pass under a constant clock, then change it.

        Args:
            dt_s: time.
            end_s: when it is over.
            limit_hz: what the heat leaves at most.
            is_busy: whether its domain works.
        """
        self._limit_hz = max(hz for hz in self.available_hz if hz <= limit_hz)
        if self._coming is not None and self._coming[0] <= end_s:
            self._asked_hz, self._coming = self._coming[1], None
        asked_hz = self.available_hz[-1] if self._asked_hz is None else self._asked_hz
        cap_hz = min(asked_hz, self._limit_hz)
        if not self.is_governed:
            self.hz = cap_hz
            return
        now, cap, busy = np.array([[self.hz], [cap_hz], [is_busy]], dtype=np.float64)
        self.hz = int(min(self._governor.advance(dt_s, now, cap, busy)[0], cap_hz))

    def _became(self, target_hz: int) -> Applied:
        applied_hz = min(target_hz, self._limit_hz)
        return Applied(target_hz, applied_hz, Cause.THERMAL if applied_hz < target_hz else None)

    def _fresh_governor(self) -> Schedutil:
        return Schedutil(np.array(self.available_hz, dtype=np.float64), 1)

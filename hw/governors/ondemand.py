"""The CPU governor `ondemand` (kernel drivers/cpufreq/cpufreq_ondemand.c)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw.device.units import Floats
from hw.governors.points import at_or_above
from hw.governors.polled_load import PolledLoad


@dataclass(frozen=True, slots=True)
class OndemandSettings:
    """Constants of the law.

    Attributes:
        poll_s: between two readings of the load; what the kernel takes at most where a driver
            names no shorter transition.
        up: load above which the clock goes to its limit; the kernel's own where idle time is
            counted exactly, as it is on Arm.
    """

    poll_s: float = 0.010
    up: float = 0.95


class Ondemand:
    """Clocks of `n` boards under `ondemand`; below `up` they are proportional to the load."""

    def __init__(self, points_hz: Floats, n: int, settings: OndemandSettings | None = None) -> None:
        """Begin without any load.

        Args:
            points_hz: operating points, ascending, shape (k,).
            n: boards.
            settings: of the law.
        """
        self._points_hz = points_hz
        self._law = settings or OndemandSettings()
        self._load = PolledLoad(self._law.poll_s, n, points_hz)

    def advance(self, dt_s: float, now_hz: Floats, cap_hz: Floats, busy: Floats) -> Floats:
        """Let some time pass; the clocks from then on, Hz. Arguments as of `Schedutil.advance`."""
        if (polled := self._load.after(dt_s, busy)) is None:
            return now_hz
        load, _ = polled
        low_hz, top_hz = self._points_hz[0], self._points_hz[-1]
        fitting_hz = at_or_above(self._points_hz, low_hz + load * (top_hz - low_hz))
        return np.minimum(np.where(load > self._law.up, top_hz, fitting_hz), cap_hz)

"""The governor `simple_ondemand` of devfreq (kernel drivers/devfreq/governor_simpleondemand.c)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw.device.units import Floats
from hw.governors.points import at_or_above
from hw.governors.polled_load import PolledLoad


@dataclass(frozen=True, slots=True)
class SimpleOndemandSettings:
    """Constants of the law, the kernel's own.

    Attributes:
        poll_s: between two readings of the load; drivers choose it, 50 ms is usual.
        up: load above which the clock goes to its limit.
        down: the clock stays while the load is less than this below `up`.
    """

    poll_s: float = 0.050
    up: float = 0.90
    down: float = 0.05


class SimpleOndemand:
    """Clocks of `n` boards under `simple_ondemand`."""

    def __init__(
        self, points_hz: Floats, n: int, settings: SimpleOndemandSettings | None = None
    ) -> None:
        """Begin without any load.

        Args:
            points_hz: operating points, ascending, shape (k,).
            n: boards.
            settings: of the law.
        """
        self._points_hz = points_hz
        self._law = settings or SimpleOndemandSettings()
        self._load = PolledLoad(self._law.poll_s, n, points_hz)

    def advance(self, dt_s: float, now_hz: Floats, cap_hz: Floats, busy: Floats) -> Floats:
        """Let some time pass; the clocks from then on, Hz. Arguments as of `Schedutil.advance`."""
        law = self._law
        if (polled := self._load.after(dt_s, busy)) is None:
            return now_hz
        load, _ = polled
        fitting_hz = at_or_above(self._points_hz, load * now_hz / (law.up - 0.5 * law.down))
        calmer_hz = np.where(load > law.up - law.down, now_hz, fitting_hz)
        return np.minimum(np.where(load > law.up, self._points_hz[-1], calmer_hz), cap_hz)

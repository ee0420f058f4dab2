"""The GPU governor of Jetson boards, `nvhost_podgov` (Linux for Tegra, governor_pod_scaling.c)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw.device.units import Floats
from hw.governors.points import at_or_above
from hw.governors.polled_load import ON_TIME, PolledLoad


@dataclass(frozen=True, slots=True)
class PodScalingSettings:
    """Constants of the law, those that the driver sets for a Tegra's GPU.

    Attributes:
        poll_s: between two readings of the load; the GPU driver's period, assumed for all boards.
        window_s: after a change, none follows for so long.
        most_load: share of the last period above which the clock rises at once.
        boost: by this share of the highest clock; no rise is larger.
        target_load: at which the clock stays.
        bias: share of the proportional change that is asked for.
        smoothing: weight of the past, in periods, in the means of idle time and clocks.
        damping: weight of the new clock against the mean of those asked for.
    """

    poll_s: float = 0.025
    window_s: float = 0.050
    most_load: float = 0.9
    boost: float = 1.0 / 3.0
    target_load: float = 0.7
    bias: float = 0.8
    smoothing: float = 10.0
    damping: float = 0.7


class PodScaling:
    """Clocks of `n` boards' GPUs under `nvhost_podgov`; the load is the share of busy time."""

    def __init__(
        self, points_hz: Floats, n: int, settings: PodScalingSettings | None = None
    ) -> None:
        """Begin as the driver does: no idle time seen yet.

        Args:
            points_hz: operating points, ascending, shape (k,).
            n: boards.
            settings: of the law.
        """
        self._points_hz = points_hz
        self._law = settings or PodScalingSettings()
        self._load = PolledLoad(self._law.poll_s, n, points_hz)
        self._mean_idle, self._mean_hz, self._changed_s = (np.zeros_like(points_hz, shape=n),) * 3

    def advance(self, dt_s: float, now_hz: Floats, cap_hz: Floats, busy: Floats) -> Floats:
        """Let some time pass; the clocks from then on, Hz. Arguments as of `Schedutil.advance`."""
        law, top_hz = self._law, self._points_hz[-1]
        if (polled := self._load.after(dt_s, busy)) is None:
            return now_hz
        load, lasted_s = polled
        idle = 1.0 - np.minimum(load, 1.0)
        self._changed_s = self._changed_s + lasted_s
        self._mean_idle = (law.smoothing * self._mean_idle + idle) / (law.smoothing + 1.0)
        rise_hz = now_hz * (law.bias * ((1.0 - self._mean_idle) / law.target_load - 1.0))
        is_full = idle < 1.0 - law.most_load
        rise_hz = np.where(is_full, law.boost * top_hz, np.minimum(rise_hz, law.boost * top_hz))
        asked_hz = now_hz + rise_hz
        is_due = self._changed_s >= ON_TIME * law.window_s
        mean_hz = (law.smoothing * self._mean_hz + asked_hz) / (law.smoothing + 1.0)
        self._mean_hz = np.where(is_due, mean_hz, self._mean_hz)
        damped_hz = law.damping * asked_hz + (1.0 - law.damping) * mean_hz
        wanted_hz = np.minimum(np.where(is_full, asked_hz, damped_hz), cap_hz)
        new_hz = np.where(is_due, at_or_above(self._points_hz, wanted_hz), now_hz)
        self._changed_s = np.where(new_hz != now_hz, 0.0, self._changed_s)
        return np.minimum(new_hz, cap_hz)

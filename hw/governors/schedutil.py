"""The CPU governor `schedutil`: it follows the scheduler's utilisation (kernel 4.7 and later)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw.device.units import Floats
from hw.governors.points import at_or_above
from hw.governors.polled_load import ON_TIME


@dataclass(frozen=True, slots=True)
class SchedutilSettings:
    """Constants of the law (kernel Documentation/scheduler/schedutil.rst, sched-capacity.rst).

    Attributes:
        half_life_s: of the per-entity load tracking, which forgets what was long ago.
        headroom: clock asked for over the clock that would just do.
        rate_limit_s: between two changes; what the kernel takes at most where a driver names no
            shorter transition (`cpufreq_policy_transition_delay_us`); assumed for all boards.
        is_invariant: utilisation counts work, as if done at the highest clock, rather than time.
    """

    half_life_s: float = 0.032
    headroom: float = 1.25
    rate_limit_s: float = 0.010
    is_invariant: bool = True


class Schedutil:
    """Clocks of `n` boards under `schedutil`.

    The utilisation that a task had before it slept (`util_est`, kernel 4.17) is not in it, for the
    kernels of most of these boards are older. Other small work is taken to wake the core often
    enough for an idle clock to fall.
    """

    def __init__(
        self, points_hz: Floats, n: int, settings: SchedutilSettings | None = None
    ) -> None:
        """Begin without any load.

        Args:
            points_hz: operating points, ascending, shape (k,).
            n: boards.
            settings: of the law.
        """
        self._points_hz = points_hz
        self._law = settings or SchedutilSettings()
        self._waited_s = 0.0
        self.utilisation = np.zeros(n, dtype=points_hz.dtype)

    @property
    def until_choice_s(self) -> float:
        """Time until the next clock is chosen, s; until then `advance` is exact in one step."""
        return self._law.rate_limit_s - self._waited_s

    def advance(self, dt_s: float, now_hz: Floats, cap_hz: Floats, busy: Floats) -> Floats:
        """Let some time pass; the clocks from then on, Hz.

        Args:
            dt_s: time, a millisecond or so.
            now_hz: clocks during it, shape (n,).
            cap_hz: upper limits.
            busy: share of it during which a core ran.
        """
        law, top_hz = self._law, self._points_hz[-1]
        kept = 0.5 ** (dt_s / law.half_life_s)
        done = busy * (now_hz / top_hz) if law.is_invariant else busy
        self.utilisation = self.utilisation * kept + done * (1.0 - kept)
        self._waited_s += dt_s
        if self._waited_s < ON_TIME * law.rate_limit_s:
            return now_hz
        self._waited_s = 0.0
        counted_hz = top_hz if law.is_invariant else now_hz
        wanted_hz = law.headroom * counted_hz * self.utilisation
        return np.minimum(at_or_above(self._points_hz, wanted_hz), cap_hz)

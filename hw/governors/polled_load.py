"""Load as a driver sees it that looks now and then: the busy share since its last look."""

from __future__ import annotations

import numpy as np

from hw.device.units import Floats

ON_TIME = 1.0 - 1e-6
"""Share of a period that counts as all of it, whatever the rounding of its steps."""


class PolledLoad:
    """Busy share of `n` units over each period."""

    def __init__(self, poll_s: float, n: int, like: Floats) -> None:
        """Begin a period.

        Args:
            poll_s: between two looks.
            n: units.
            like: an array of the precision to use.
        """
        self._poll_s, self._since_s = poll_s, 0.0
        self._busy_s = np.zeros(n, dtype=like.dtype)

    def after(self, dt_s: float, busy: Floats) -> tuple[Floats, float] | None:
        """Load of the period that ends now and its length, s; None while it goes on.

        Args:
            dt_s: time that passes.
            busy: share of it during which the unit worked.
        """
        self._busy_s = self._busy_s + busy * dt_s
        self._since_s += dt_s
        if self._since_s < ON_TIME * self._poll_s:
            return None
        load, lasted_s = self._busy_s / self._since_s, self._since_s
        self._busy_s, self._since_s = np.zeros_like(self._busy_s), 0.0
        return load, lasted_s

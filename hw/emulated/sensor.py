"""The power monitor of the emulated machine: averages in steps, noise, and a gain of its own."""

from __future__ import annotations

import math

import numpy as np

_SIGMAS = 3.0
"""Standard deviations of the noise that an admitted error holds."""


class PowerMonitor:
    """Shows the mean power of each tenth of a second, once that is over.

    What is drawn is handed in piece by piece, none across the end of a period.

    Args:
        seed: of its gain and its noise.
        now_s: when it is switched on.
    """

    PERIOD_S = 0.1
    STEP_W = 0.01
    GAIN_ERROR = 0.03
    """The gain of one monitor is anywhere within so much of 1, and stays."""
    NOISE_W = 0.02
    """Standard deviation of the noise of a reading."""

    def __init__(self, seed: int, now_s: float) -> None:
        self._draw = np.random.default_rng(seed)
        self.gain = 1.0 + self.GAIN_ERROR * float(self._draw.uniform(-1.0, 1.0))
        self._since_s, self._sum_j = now_s, 0.0
        self._shown_w: float | None = None
        self._lowest_w, self._highest_w = math.inf, 0.0
        self._window: _Window | None = None

    def until_reading_s(self, now_s: float) -> float:
        """Time until the present period is over, s."""
        return self._since_s + self.PERIOD_S - now_s

    def take(self, power_w: float, dt_s: float, end_s: float) -> None:
        """Take in what is drawn until `end_s`."""
        shown_w = self.gain * power_w
        if self._shown_w is None:  # just switched on
            self._shown_w = self._rounded_w(shown_w)
        self._lowest_w = min(self._lowest_w, shown_w)
        self._highest_w = max(self._highest_w, shown_w)
        self._sum_j += shown_w * dt_s
        if end_s < self._since_s + (1.0 - 1e-9) * self.PERIOD_S:
            return
        mean_w = self._sum_j / (end_s - self._since_s)
        self._shown_w = self._rounded_w(mean_w + self.NOISE_W * float(self._draw.normal()))
        if self._window is not None:
            self._window.add(self._since_s, end_s, self._shown_w, *self._bounds_w())
        self._since_s, self._sum_j = end_s, 0.0

    def read_w(self) -> float:
        """Read the mean of the last period that is over, W; 0 if nothing was taken in yet."""
        return self._shown_w or 0.0

    def begin(self, now_s: float) -> None:
        """Begin to add up readings."""
        self._window = _Window(now_s)

    def end(self, now_s: float) -> tuple[float, float, int]:
        """Energy since `begin`, its largest error but for the gain, J, and how many readings.

        The period that is not over is taken for the one before it. Of a period that lies partly
        within the window it is unknown when in it the power was drawn.
        """
        window, self._window = self._window, None
        assert window is not None, "begin a window first"
        window.add(self._since_s, now_s, self.read_w(), *self._bounds_w(), is_over=False)
        noise_j = _SIGMAS * self.NOISE_W * self.PERIOD_S * math.sqrt(window.n_readings)
        error_j = window.error_j + noise_j + self.STEP_W / 2 * (now_s - window.began_s)
        return window.energy_j, error_j, window.n_readings

    def _bounds_w(self) -> tuple[float, float]:
        """Lowest and highest power that it ever met, as a chip that keeps both would know."""
        return self._lowest_w, self._highest_w

    def _rounded_w(self, power_w: float) -> float:
        return max(self.STEP_W * round(power_w / self.STEP_W), 0.0)


class _Window:
    """Readings of a stretch of time."""

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.energy_j = self.error_j = 0.0
        self.n_readings = 0

    def add(
        self,
        from_s: float,
        to_s: float,
        mean_w: float,
        lowest_w: float,
        highest_w: float,
        *,
        is_over: bool = True,
    ) -> None:
        """Add a period, or what of one has passed and was not shown yet."""
        within_s = to_s - max(from_s, self.began_s)
        if within_s <= 0.0:
            return
        self.energy_j += mean_w * within_s
        least_j, most_j = lowest_w * within_s, highest_w * within_s
        if is_over:
            self.n_readings += 1
            outside_s = to_s - from_s - within_s
            period_j = mean_w * (to_s - from_s)
            least_j = max(least_j, period_j - highest_w * outside_s)
            most_j = min(most_j, period_j - lowest_w * outside_s)
        expected_j = mean_w * within_s
        self.error_j += max(most_j - expected_j, expected_j - least_j, 0.0)

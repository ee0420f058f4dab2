"""Thermal model of a device: two thermal nodes in parallel."""

from __future__ import annotations

import numpy as np

from common.schema import NonNegative, Positive, Table
from hw.device.units import Floats, Values


class ThermalModel(Table, frozen=True):
    """Two-node RC model: temperature = ambient + offset + fast node + slow node.

    Attributes:
        offset_c: steady excess of the hottest zone over ambient without load, degrees C.
        fast_c_per_w: thermal resistance of the die, degrees C per W.
        fast_tau_s: its time constant, s.
        slow_c_per_w: thermal resistance of the heat sink, degrees C per W.
        slow_tau_s: its time constant, s.
        throttle_c: temperature at which clocks begin to be capped, degrees C.
        throttle_span_c: degrees above that at which only the lowest clock is left.
    """

    offset_c: NonNegative
    fast_c_per_w: NonNegative
    fast_tau_s: Positive
    slow_c_per_w: NonNegative
    slow_tau_s: Positive
    throttle_c: Positive
    throttle_span_c: Positive

    def step(
        self, fast_c: Values, slow_c: Values, power_w: Values, dt_s: Values
    ) -> tuple[Floats, Floats]:
        """Advance both nodes under constant power; exact for any step length."""
        fast_end_c = self.fast_c_per_w * power_w
        slow_end_c = self.slow_c_per_w * power_w
        return (
            fast_end_c + (fast_c - fast_end_c) * np.exp(-np.divide(dt_s, self.fast_tau_s)),
            slow_end_c + (slow_c - slow_end_c) * np.exp(-np.divide(dt_s, self.slow_tau_s)),
        )

    def temperature_c(self, ambient_c: Values, fast_c: Values, slow_c: Values) -> Floats:
        """Temperature of the hottest zone, degrees C."""
        return np.asarray(ambient_c + self.offset_c + fast_c + slow_c)

    def cap_hz(self, lowest_hz: float, highest_hz: float, temperature_c: Values) -> Floats:
        """Highest clock left at a temperature, Hz; falls linearly over the throttle span."""
        share = np.clip(
            (np.asarray(temperature_c) - self.throttle_c) / self.throttle_span_c, 0.0, 1.0
        )
        return np.asarray(highest_hz - (highest_hz - lowest_hz) * share)

"""Energy of a time window from power sensors that are read again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from hw.base import EnergyReading, PowerSensor
from hw.errors import HardwareError

TOTAL_RAILS = ("VDD_IN", "POM_5V_IN")
"""Rails at a board's input, which contain the others."""


class EnergySampler:
    """Reads sensors in a thread and integrates by trapezoids.

    Args:
        sensors: rails to read, at least one.
        period_s: time between two readings, s.
        clock: present time, s.
    """

    def __init__(
        self,
        sensors: Mapping[str, PowerSensor],
        period_s: float = 0.02,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sensors = sensors
        self._period_s = period_s
        self._clock = clock
        self._samples: list[tuple[float, dict[str, float]]] = []
        self._failure: HardwareError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="energy", daemon=True)

    def start(self) -> None:
        """Take the first reading and go on in a thread."""
        self._sample()
        self._thread.start()

    def stop(self) -> EnergyReading:
        """Take the last reading and integrate.

        Raises:
            HardwareError: a reading in between failed; its own error.
        """
        self.cancel()
        if self._failure is not None:
            raise self._failure
        self._sample()
        return self._integrate()

    def cancel(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stop.wait(self._period_s):
            try:
                self._sample()
            except HardwareError as error:
                self._failure = error
                return

    def _sample(self) -> None:
        rails_w = {name: sensor.read_w() for name, sensor in self._sensors.items()}
        self._samples.append((self._clock(), rails_w))

    def _integrate(self) -> EnergyReading:
        duration_s = self._samples[-1][0] - self._samples[0][0]
        mean_w = {name: self._mean_w(name, duration_s) for name in self._sensors}
        total = next((rail for rail in TOTAL_RAILS if rail in mean_w), None)
        total_w = mean_w[total] if total is not None else sum(mean_w.values())
        return EnergyReading(total_w * duration_s, duration_s, mean_w, len(self._samples))

    def _mean_w(self, name: str, duration_s: float) -> float:
        if duration_s <= 0:
            return self._samples[-1][1][name]
        pairs = zip(self._samples, self._samples[1:], strict=False)
        energy_j = sum(
            (later_s - earlier_s) * (earlier_w[name] + later_w[name]) / 2
            for (earlier_s, earlier_w), (later_s, later_w) in pairs
        )
        return energy_j / duration_s

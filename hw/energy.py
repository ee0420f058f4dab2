"""Energy of a time window from power sensors that are read again and again, and from counters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from hw.base import EnergyCounter, EnergyReading, PowerSensor
from hw.errors import WindowTooShortError

POLLED = ".power"
"""Ending of a sensor that polls what a counter of the same name counts, to check it."""
READINGS_PER_WINDOW = 2
"""A window has to span this many new readings of each sensor, or it measured nothing."""


class Sample(NamedTuple):
    """One reading of one rail.

    Attributes:
        begun_s: when the sensor was asked, s; some drivers wait for a new value then.
        at_s: when it had answered, s.
        power_w: the answer, W.
    """

    begun_s: float
    at_s: float
    power_w: float


class EnergyMeter:
    """Measures one window after another.

    A window lasts from the return of `begin` to the call of `end`. Sensors are read in a thread
    from before it until after it and integrated by trapezoids; counters are read at both ends.

    Args:
        sensors: rails whose power is read.
        counters: rails whose energy is counted.
        total: names of the rails that together are the board's input.
        sample_period_s: time between two rounds of readings, s.
        clock: present time, s.
    """

    def __init__(
        self,
        sensors: Mapping[str, PowerSensor],
        counters: Mapping[str, EnergyCounter],
        total: Sequence[str],
        *,
        sample_period_s: float = 0.02,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sensors = dict(sensors)
        self._counters = dict(counters)
        self._total = total
        self._sample_period_s = sample_period_s
        self._clock = clock
        self._sampler: _Sampler | None = None
        self._start_s = 0.0
        self._start_j: dict[str, float] = {}

    @property
    def shortest_window_s(self) -> float:
        """Shortest window that these rails can resolve, s."""
        periods_s = [s.period_s for name, s in self._sensors.items() if name in self._total]
        periods_s += [c.period_s for name, c in self._counters.items() if name in self._total]
        return READINGS_PER_WINDOW * max(periods_s)

    def begin(self) -> None:
        """Begin a window; a window in progress is given up.

        Raises:
            HardwareError: a sensor cannot be read.
        """
        self.cancel()
        sampler = _Sampler(self._sensors, self._sample_period_s, self._clock)
        sampler.start()
        self._sampler = sampler
        self._start_s = self._clock()
        self._start_j = {name: counter.read_j() for name, counter in self._counters.items()}

    def end(self) -> EnergyReading:
        """End the window.

        Raises:
            WindowTooShortError: it spans too few readings to say anything.
            HardwareError: a reading in between failed; its own error.
        """
        assert self._sampler is not None, "begin a window first"
        end_s = self._clock()
        used_j = {name: c.read_j() - self._start_j[name] for name, c in self._counters.items()}
        sampler, self._sampler = self._sampler, None
        samples = sampler.stop()
        duration_s = end_s - self._start_s
        if duration_s < self.shortest_window_s:
            raise WindowTooShortError(
                f"an energy window of {1e3 * duration_s:.1f} ms is too short for sensors that need "
                f"{1e3 * self.shortest_window_s:.1f} ms; measure longer"
            )
        rails = {
            name: sampled_energy(sensor, samples[name], self._start_s, end_s)
            for name, sensor in self._sensors.items()
        }
        for name, counter in self._counters.items():
            error_j = counter.step_j + used_j[name] / duration_s * counter.period_s
            polled_j = rails.get(name + POLLED, (used_j[name], 0.0))[0]
            rails[name] = used_j[name], max(error_j, abs(used_j[name] - polled_j))
        return EnergyReading(
            energy_j=sum(rails[name][0] for name in self._total),
            duration_s=duration_s,
            mean_w={name: energy_j / duration_s for name, (energy_j, _) in rails.items()},
            n_samples=max((len(series) for series in samples.values()), default=0),
            uncertainty_j=sum(rails[name][1] for name in self._total),
        )

    def cancel(self) -> None:
        """Give up a window in progress."""
        if self._sampler is not None:
            self._sampler.cancel()
            self._sampler = None


class _Sampler:
    """Reads sensors in a thread until told to stop."""

    def __init__(
        self,
        sensors: Mapping[str, PowerSensor],
        period_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._sensors = sensors
        self._period_s = period_s
        self._clock = clock
        self._samples: dict[str, list[Sample]] = {name: [] for name in sensors}
        self._failure: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="energy", daemon=True)

    def start(self) -> None:
        self._sample()
        if self._sensors:
            self._thread.start()

    def stop(self) -> dict[str, list[Sample]]:
        self.cancel()
        if self._failure is not None:
            raise self._failure
        self._sample()  # one after the end, so that the window lies within the readings
        return self._samples

    def cancel(self) -> None:
        self._stop.set()
        if self._sensors:
            self._thread.join()

    def _loop(self) -> None:
        while not self._stop.wait(self._period_s):
            try:
                self._sample()
            except Exception as error:
                self._failure = error  # raised again by whoever ends the window
                return

    def _sample(self) -> None:
        # Each rail has its own times: an INA3221 takes up to 13 ms for one.
        for name, sensor in self._sensors.items():
            begun_s = self._clock()
            power_w = sensor.read_w()
            self._samples[name].append(Sample(begun_s, self._clock(), power_w))


def sampled_energy(
    sensor: PowerSensor, samples: Sequence[Sample], start_s: float, end_s: float
) -> tuple[float, float]:
    """Energy of a rail within a window, and the largest error of that, J.

    An answer tells the power at some moment between `period_s` before its question and itself.
    Between two such moments the power is taken to lie between what they show, so that a peak which
    no reading has seen is not in the error.

    Args:
        sensor: the rail's sensor.
        samples: its readings in the order of time, the first before the window, the last after it.
        start_s: start of the window.
        end_s: end of the window.
    """
    energy_j = 0.0
    error_j = sensor.step_w / 2 * (end_s - start_s)
    powers_w = [sample.power_w for sample in samples]
    seen = 0  # the first reading that tells for sure what was after the present piece
    for number, (before, after) in enumerate(pairwise(samples)):
        from_s, to_s = max(before.at_s, start_s), min(after.at_s, end_s)
        if to_s <= from_s:
            continue
        slope = (after.power_w - before.power_w) / (after.at_s - before.at_s)
        mean_w = before.power_w + slope * ((from_s + to_s) / 2 - before.at_s)
        while seen < len(samples) and samples[seen].begun_s - sensor.period_s < to_s:
            seen += 1
        around_w = powers_w[number : seen + 1]
        energy_j += mean_w * (to_s - from_s)
        error_j += max(max(around_w) - mean_w, mean_w - min(around_w)) * (to_s - from_s)
    return energy_j, error_j

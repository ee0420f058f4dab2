"""Energy of a time window from power sensors that are read again and again, and from counters.

One reading that fails does not end a window. It is dropped, the power is taken to lead straight
from the reading before it to the one after it, and as what was drawn meanwhile is unknown, the
window admits that it may have been anything between nothing and the highest power that the rail has
shown since the meter was made. A time in which nothing was read at all counts the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from hw.base import EnergyCounter, EnergyReading, PowerSensor
from hw.device.model import DeviceModel
from hw.errors import (
    HardwareError,
    ImplausibleReadingError,
    SensorReadError,
    UnreadWindowError,
    WindowTooShortError,
)
from hw.plausible import plausible_w
from hw.sensors.sampler import Sample, Sampler
from hw.thermal.stuck import StuckWatch

POLLED = ".power"
"""Ending of a sensor that polls what a counter of the same name counts, to check it."""
READINGS_PER_WINDOW = 2
"""A window has to span this many new readings of each sensor, or it measured nothing."""
LARGEST_GAP = 0.5
"""Share of a window without a reading from which on it says nothing about a rail: beyond a half,
most of its energy would be a guess."""
COUNTER_TRIES = 3
"""A counter is needed at both ends of a window; a bus that failed once answers the next moment."""


def shortest_modelled_window_s(device: DeviceModel) -> float:
    """Shortest energy window that the power monitor of a device model resolves, s."""
    return READINGS_PER_WINDOW * device.sensor.period_s


def check_duration(duration_s: float, shortest_s: float) -> None:
    """Refuse an energy window that says nothing.

    Raises:
        WindowTooShortError: it is shorter than its sensors resolve.
    """
    if duration_s < shortest_s:
        raise WindowTooShortError(
            f"an energy window of {1e3 * duration_s:.1f} ms is too short for sensors that need "
            f"{1e3 * shortest_s:.1f} ms; measure longer"
        )


class EnergyMeter:
    """Measures one window after another.

    A window lasts from the return of `begin` to the call of `end`. Sensors are read in a thread
    from before it until after it and integrated by trapezoids; counters are read at both ends.

    Args:
        sensors: rails whose power is read.
        counters: rails whose energy is counted.
        total: names of the rails that together are the board's input.
        may_be_zero: whether the total may be nothing while the machine runs (a battery).
        sample_period_s: time between two rounds of readings, s.
        clock: present time, s.
    """

    def __init__(
        self,
        sensors: Mapping[str, PowerSensor],
        counters: Mapping[str, EnergyCounter],
        total: Sequence[str],
        *,
        may_be_zero: bool = False,
        sample_period_s: float = 0.02,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sensors = dict(sensors)
        self._counters = dict(counters)
        self._total = total
        self._may_be_zero = may_be_zero
        self._sample_period_s = sample_period_s
        self._clock = clock
        self._sampler: Sampler | None = None
        self._last: Sampler | None = None
        self._start_s = 0.0
        self._start_j: dict[str, float] = {}
        self._highest_w = dict.fromkeys(self._sensors, 0.0)
        self._stuck = StuckWatch("rail", "W")
        self._reasons: dict[str, str] = {}
        self._n_failed = 0

    @property
    def shortest_window_s(self) -> float:
        """Shortest window that these rails can resolve, s."""
        periods_s = [s.period_s for name, s in self._sensors.items() if name in self._total]
        periods_s += [c.period_s for name, c in self._counters.items() if name in self._total]
        return READINGS_PER_WINDOW * max(periods_s)

    def begin(self) -> None:
        """Begin a window; a window in progress is given up, and readings that fail are dropped."""
        self.cancel()
        self._reasons, self._n_failed = {}, 0
        waits_for = self._last.waits_for() if self._last is not None else None
        if waits_for is None:
            sampler = Sampler(self._sensors, self._sample_period_s, self._clock, self._reasons)
            self._last = sampler
        else:  # one thread that hangs is enough
            self._reasons.update(dict.fromkeys(self._sensors, waits_for))
            sampler = Sampler({}, self._sample_period_s, self._clock, self._reasons)
        sampler.start()
        self._sampler = sampler
        self._start_s = self._clock()
        self._start_j = self._read_counters(at_end=False)

    def end(self) -> EnergyReading:
        """End the window.

        Raises:
            WindowTooShortError: it spans too few readings to say anything.
            ImplausibleReadingError: the whole total was nothing, though the machine runs.
            UnreadWindowError: a rail of the total was not read for more than half of it, because
                this process got no time or the sensor took it.
            SensorReadError: a rail of the total gave no readings for more than half of it, or a
                counter of the total none at one end; the message has the last reason.
        """
        assert self._sampler is not None, "begin a window first"
        end_s = self._clock()
        end_j = self._read_counters(at_end=True)
        sampler, self._sampler = self._sampler, None
        samples = {
            name: _covering(series, self._start_s, end_s) for name, series in sampler.stop().items()
        }
        duration_s = end_s - self._start_s
        check_duration(duration_s, self.shortest_window_s)
        rails = self._sampled(samples, end_s)
        self._count(rails, end_j, end_s)
        for name in self._total:
            if name not in rails:
                answered = samples.get(name) and not any(s.failed for s in samples[name])
                kind = UnreadWindowError if answered else SensorReadError
                raise kind(
                    f"rail {name} gave too few readings in a window of {duration_s:.3g} s: "
                    f"{self._reasons.get(name, 'nothing was read')}"
                )
        energy_j = sum(rails[name][0] for name in self._total)
        if energy_j == 0.0 and not self._may_be_zero:
            raise ImplausibleReadingError(
                f"{' + '.join(self._total)} showed 0 W for {duration_s:.3g} s, though the machine "
                "runs; check the power monitor's driver and wiring (python -m hw.doctor)"
            )
        return EnergyReading(
            energy_j=energy_j,
            duration_s=duration_s,
            mean_w={name: joule / duration_s for name, (joule, _) in rails.items()},
            n_samples=max(
                (sum(not s.failed for s in each) for each in samples.values()), default=0
            ),
            uncertainty_j=sum(rails[name][1] for name in self._total),
            n_failed=self._n_failed + sum(s.failed for each in samples.values() for s in each),
        )

    def cancel(self) -> None:
        """Give up a window in progress."""
        if self._sampler is not None:
            self._sampler.cancel()
            self._sampler = None

    def _sampled(
        self, samples: Mapping[str, Sequence[Sample]], end_s: float
    ) -> dict[str, tuple[float, float]]:
        """Energy and error of the rails that gave enough readings, J."""
        longest_s = LARGEST_GAP * (end_s - self._start_s)
        rails = {}
        for name, series in samples.items():
            shown_w = [sample.power_w for sample in series if not sample.failed]
            self._highest_w[name] = max([self._highest_w[name], *shown_w])
            if shown_w and name in self._total:
                self._stuck.look(name, min(shown_w), max(shown_w), end_s)
            gap_s = longest_gap_s(series, self._start_s, end_s)
            if gap_s > longest_s:
                self._reasons.setdefault(
                    name, f"none for {gap_s:.2g} s; its bus hung, or the machine was too busy"
                )
            elif shown_w:
                rails[name] = sampled_energy(
                    self._sensors[name], series, self._start_s, end_s, self._highest_w[name]
                )
        return rails

    def _count(
        self, rails: dict[str, tuple[float, float]], end_j: Mapping[str, float], end_s: float
    ) -> None:
        """Add the counters that were read at both ends."""
        duration_s = end_s - self._start_s
        for name in self._start_j.keys() & end_j.keys():
            counter, used_j = self._counters[name], end_j[name] - self._start_j[name]
            try:
                mean_w = plausible_w(name, used_j / duration_s)
            except ImplausibleReadingError as error:  # a driver that was loaded again counts from 0
                self._reasons[name] = str(error)
                self._n_failed += 1
                continue
            if name in self._total:
                self._stuck.look(name, mean_w, mean_w, end_s)
            error_j = counter.step_j + mean_w * counter.period_s
            polled_j = rails.get(name + POLLED, (used_j, 0.0))[0]
            rails[name] = used_j, max(error_j, abs(used_j - polled_j))

    def _read_counters(self, *, at_end: bool) -> dict[str, float]:
        """All counters that answer, J; one that leapt has lost what was used since the start."""
        found_j = {}
        for name, counter in self._counters.items():
            for _ in range(COUNTER_TRIES):
                try:
                    found_j[name] = counter.read_j()
                    break
                except HardwareError as error:
                    self._reasons[name] = str(error)
                    self._n_failed += 1
                    if at_end and isinstance(error, ImplausibleReadingError):
                        break
        return found_j


def _covering(samples: Sequence[Sample], start_s: float, end_s: float) -> list[Sample]:
    """Readings that reach over both ends of a window; what was not read failed."""
    covering = list(samples)
    if not covering or covering[0].at_s > start_s:
        covering.insert(0, Sample(start_s, start_s, math.nan))
    if covering[-1].at_s < end_s:
        covering.append(Sample(end_s, end_s, math.nan))
    return covering


def sampled_energy(
    sensor: PowerSensor,
    samples: Sequence[Sample],
    start_s: float,
    end_s: float,
    highest_w: float = 0.0,
) -> tuple[float, float]:
    """Energy of a rail within a window, and the largest error of that, J.

    An answer gives the power at some moment between `period_s` before its question and itself.
    Between two such moments the power is taken to lie between what they show, so that a peak which
    no reading has seen is not in the error. Around a reading that failed, and before one that is
    late, it may have been anything from nothing to the highest that was ever seen.

    Args:
        sensor: the rail's sensor.
        samples: its readings in the order of time, the first before the window, the last after it;
            one of them answered at least.
        start_s: start of the window.
        end_s: end of the window.
        highest_w: highest power that the rail was ever seen to draw.
    """
    energy_j = 0.0
    error_j = sensor.step_w / 2 * (end_s - start_s)
    powers_w = _bridged_w(samples)
    seen = 0  # the first reading that surely shows what was after the present piece
    for number, (before, after) in enumerate(pairwise(samples)):
        from_s, to_s = max(before.at_s, start_s), min(after.at_s, end_s)
        if to_s <= from_s:
            continue
        slope = (powers_w[number + 1] - powers_w[number]) / (after.at_s - before.at_s)
        mean_w = powers_w[number] + slope * ((from_s + to_s) / 2 - before.at_s)
        while seen < len(samples) and (
            samples[seen].failed or samples[seen].begun_s - sensor.period_s < to_s
        ):
            seen += 1
        around_w = powers_w[number : seen + 1]
        if before.failed or after.failed or after.is_late:
            around_w = [*around_w, 0.0, highest_w]
        energy_j += mean_w * (to_s - from_s)
        error_j += max(max(around_w) - mean_w, mean_w - min(around_w)) * (to_s - from_s)
    return energy_j, error_j


def longest_gap_s(samples: Sequence[Sample], start_s: float, end_s: float) -> float:
    """Longest part of a window that lies around readings that failed, or between late ones, s."""
    longest_s = gap_s = 0.0
    for before, after in pairwise(samples):
        if before.failed or after.failed or after.is_late:
            gap_s += max(0.0, min(after.at_s, end_s) - max(before.at_s, start_s))
            longest_s = max(longest_s, gap_s)
        if not after.failed and not after.is_late:
            gap_s = 0.0
    return longest_s


def _bridged_w(samples: Sequence[Sample]) -> list[float]:
    """Power at each reading, W; straight between the readings around one that failed."""
    answered = [sample for sample in samples if not sample.failed]
    times_s, powers_w = [s.at_s for s in answered], [s.power_w for s in answered]
    return [
        float(np.interp(sample.at_s, times_s, powers_w)) if sample.failed else sample.power_w
        for sample in samples
    ]

"""Sensors that are read again and again in a thread, so that one that hangs delays no caller."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hw.base import PowerSensor
from hw.errors import HardwareError

PATIENCE_S = 0.5
"""Longest wait for a sensor at either end of a window: a board with eight INA3221 rails takes 0.1 s
for all of them, but a bus that hangs blocks for a second and more, and requests wait meanwhile."""


STILL_S = 0.1
"""Time between two readings of a rail beyond what they need themselves, from which on the thread
stood still: five of its usual periods, which a busy machine's other programs seldom take."""
READING_S = 0.02
"""The most that one reading takes on a bus that works: 13 ms of an INA3221's channel."""


class Sample(NamedTuple):
    """One reading of one rail.

    Attributes:
        begun_s: when the sensor was asked, s; some drivers wait for a new value then.
        at_s: when it had answered, s.
        power_w: the answer, W; NaN where it failed.
        is_late: whether the thread stood still, or the sensor hung, since the reading before it.
    """

    begun_s: float
    at_s: float
    power_w: float
    is_late: bool = False

    @property
    def failed(self) -> bool:
        """Whether there was no answer."""
        return math.isnan(self.power_w)


class Sampler:
    """Reads sensors in a thread until told to stop.

    Args:
        sensors: to be read, by name.
        period_s: time between two rounds of readings, s.
        clock: present time, s.
        reasons: takes the last reason of each sensor that fails.
    """

    def __init__(
        self,
        sensors: Mapping[str, PowerSensor],
        period_s: float,
        clock: Callable[[], float],
        reasons: dict[str, str],
    ) -> None:
        self._sensors = sensors
        self._period_s = period_s
        self._clock = clock
        self._reasons = reasons
        self._samples: dict[str, list[Sample]] = {name: [] for name in sensors}
        self._read_s: dict[str, float] = {}
        self._asked: tuple[str, float] | None = None
        self._begun, self._stop = threading.Event(), threading.Event()
        self._is_cancelled = False
        self._thread = threading.Thread(target=self._loop, name="energy", daemon=True)

    def start(self) -> None:
        """Begin, with one reading of each before this returns if they answer soon."""
        if not self._sensors:
            return
        try:
            self._thread.start()
        except RuntimeError as error:  # the control group or the user may start no more now
            reason = f"it cannot be read now, for {error}; raise pids.max or ulimit -u"
            self._reasons.update(dict.fromkeys(self._sensors, reason))
        else:
            self._begun.wait(PATIENCE_S)

    def stop(self) -> dict[str, list[Sample]]:
        """Readings from before the start until now; less of a sensor that keeps one waiting."""
        self._end()
        waits_for = self.waits_for()
        if waits_for is not None:
            for name in self._sensors:
                self._reasons.setdefault(name, waits_for)
        return {name: list(series) for name, series in self._samples.items()}

    def cancel(self) -> None:
        """End without a last reading."""
        self._is_cancelled = True
        self._end()

    def waits_for(self) -> str | None:
        """In words, the sensor that has been asked and does not answer, once told to stop."""
        asked = self._asked
        if asked is None or not self._thread.is_alive():
            return None
        name, since_s = asked
        return f"{name} has not answered for {self._clock() - since_s:.1f} s; check its bus"

    def _end(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE_S)

    def _loop(self) -> None:
        try:
            self._sample()
            self._begun.set()
            while not self._stop.wait(self._period_s):
                self._sample()
            if not self._is_cancelled:
                self._sample()  # after the end, so that the window lies within the readings
        finally:
            self._begun.set()

    def _sample(self) -> None:
        # Each rail has its own times: an INA3221 takes up to 13 ms for one.
        for name, sensor in self._sensors.items():
            begun_s = self._clock()
            self._asked = name, begun_s
            try:
                power_w = sensor.read_w()
            except HardwareError as error:
                power_w = math.nan
                self._reasons[name] = str(error)
            except Exception as error:  # an answer that its reader has never seen costs no service
                power_w = math.nan
                self._reasons[name] = f"{type(error).__name__}: {error}"
            at_s, is_late = self._clock(), self._is_late(name, sensor.period_s)
            self._samples[name].append(Sample(begun_s, at_s, power_w, is_late))
        self._asked = None

    def _is_late(self, name: str, period_s: float) -> bool:
        # By the time that the thread waits in, which is real whatever `clock` shows.
        now_s = time.monotonic()
        last_s, self._read_s[name] = self._read_s.get(name, now_s), now_s
        usual_s = period_s + READING_S * len(self._sensors)
        return now_s - last_s > STILL_S + usual_s

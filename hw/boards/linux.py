"""A Linux machine as the kernel shows it: cpufreq clocks, hwmon power, thermal zones."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from hw.base import Board, EnergyReading
from hw.cpufreq import POLICIES, cpufreq_domains
from hw.energy import EnergySampler
from hw.errors import BoardNotFoundError, SensorReadError, UnsupportedError
from hw.hwmon import HWMON, power_sensors
from hw.restore import RestoreStack
from hw.sysfs import Sysfs
from hw.thermal import ZONES, SysfsThermalZone, thermal_zones


class LinuxBoard(Board):
    """The machine this runs on.

    Energy is that of the input rail where the board has one (VDD_IN, POM_5V_IN), else the sum of
    all rails found.

    Args:
        sysfs: access to the kernel's files.
        sample_period_s: time between two power readings in an energy window, s.
        clock: present time, s.
    """

    name = "linux"

    def __init__(
        self,
        sysfs: Sysfs,
        *,
        sample_period_s: float = 0.02,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.domains = {}
        self.power_sensors = {}
        self.thermal_zones = {}
        self._sysfs = sysfs
        self._zones: dict[str, SysfsThermalZone] = {}
        self._sample_period_s = sample_period_s
        self._clock = clock
        self._restore = RestoreStack()
        self._window: EnergySampler | None = None

    @property
    def temperature_limit_c(self) -> float:
        """Lowest trip point at which the machine slows down or stops, degrees C.

        Raises:
            UnsupportedError: no zone has one.
        """
        limits_c = [limit_c for zone in self._zones.values() for limit_c in zone.read_limits_c()]
        if not limits_c:
            raise UnsupportedError(
                f"no thermal zone under {self._sysfs.root / ZONES} has a trip point; leave "
                "temperature out or use --board sim"
            )
        return min(limits_c)

    def begin_window(self) -> None:
        """Start measuring energy.

        Raises:
            UnsupportedError: the machine has no power sensor.
        """
        if not self.power_sensors:
            raise UnsupportedError(
                f"no power sensor under {self._sysfs.root / HWMON}; load the driver of the board's "
                "power monitor (ina3221, ina2xx) or use --board sim"
            )
        if self._window is not None:
            self._window.cancel()
        self._window = EnergySampler(self.power_sensors, self._sample_period_s, self._clock)
        self._window.start()

    def end_window(self) -> EnergyReading:
        """Stop measuring and integrate the readings.

        Raises:
            SensorReadError: no window was begun, or a reading failed.
        """
        if self._window is None:
            raise SensorReadError("no energy window of board linux is open; begin one first")
        window, self._window = self._window, None
        return window.stop()

    def _acquire(self) -> None:
        domains = cpufreq_domains(self._sysfs)
        if not domains:
            raise BoardNotFoundError(
                f"no CPU clock under {self._sysfs.root / POLICIES}; use --board sim, or a machine "
                "whose kernel controls its clocks (virtual machines rarely do)"
            )
        self.domains = domains
        self.power_sensors = power_sensors(self._sysfs)
        self._zones = thermal_zones(self._sysfs)
        self.thermal_zones = self._zones
        self._restore = RestoreStack()
        for name, domain in domains.items():
            limits = domain.read_limits()
            self._restore.push(f"clock {name}", partial(domain.restore_limits, limits))

    def _release(self) -> None:
        if self._window is not None:
            self._window.cancel()
            self._window = None
        self._restore.restore()

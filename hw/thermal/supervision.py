"""Temperature of a machine whose zones come and go: which one is nearest to its limit now."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from hw.errors import HardwareError, SensorReadError, UnsupportedError
from hw.outage import Outage
from hw.thermal.stuck import StuckWatch

logger = logging.getLogger(__name__)


class LimitedZone(Protocol):
    """A temperature that may have a limit."""

    name: str
    limit_c: float | None

    def read_c(self) -> float:
        """Read the temperature, degrees C."""


class ZoneWatch:
    """Reads the zones that have a limit, and reports when one falls silent or is back.

    The zones of a Jetson's GPU and accelerators answer only while their unit is powered.

    Args:
        zones: by name.
        silent: names of those that do not answer yet; their silence is not reported.
        clock: present time, s.
    """

    def __init__(
        self,
        zones: Mapping[str, LimitedZone],
        silent: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._stuck = StuckWatch("thermal zone", "C")
        self._zones = {name: z for name, z in zones.items() if z.limit_c is not None}
        self._asleep = set(silent & self._zones.keys())
        self._silence = {
            name: Outage(f"thermal zone {name}", "it is left out meanwhile", clock=clock)
            for name in self._zones
        }

    @property
    def has_limits(self) -> bool:
        """Whether any zone has a limit."""
        return bool(self._zones)

    def tightest(self) -> tuple[float, float]:
        """Temperature and limit of the zone that is nearest to its limit, degrees C.

        Raises:
            UnsupportedError: no zone has a limit.
            SensorReadError: none of those that have one answers.
        """
        if not self._zones:
            raise UnsupportedError(
                "no thermal zone under /sys/class/thermal has a trip point at which the machine is "
                "slowed down or stops; leave temperature out or use --board sim"
            )
        found, reasons = [], []
        for name, zone in self._zones.items():
            try:
                temperature_c = zone.read_c()
            except HardwareError as error:
                reasons.append(f"{name}: {error}")
                if name not in self._asleep:
                    self._silence[name].failed(error)
                continue
            self._stuck.look(name, temperature_c, temperature_c, self._clock())
            if name in self._asleep:
                logger.warning("thermal zone %s answers: %.1f C", name, temperature_c)
                self._asleep.discard(name)
            self._silence[name].worked()
            if zone.limit_c is not None:
                found.append((temperature_c, zone.limit_c))
        if not found:
            raise SensorReadError(f"no thermal zone with a limit answers ({'; '.join(reasons)})")
        return min(found, key=lambda zone: zone[1] - zone[0])

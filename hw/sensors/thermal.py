"""Temperatures by the kernel's thermal zones (Documentation/driver-api/thermal/sysfs-api.rst)."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

from hw.base import ThermalZone
from hw.errors import HardwareError
from hw.left_out import leaving_out
from hw.sensors.plausible import plausible_c
from hw.sensors.trips import ZONES, read_trips
from hw.sysfs import Sysfs

_DMI = ("sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_name")
CONSTANT_ZONES = ("PMIC-Die",)
"""Older Jetsons: 100 C until an alarm, however cool it is; its limits would guard nothing."""
RASPBERRY_PI_LIMIT_C = 80.0
"""Where the Pi's firmware begins to slow down, whatever the kernel's trip points say."""


class SysfsThermalZone:
    """One thermal zone.

    Args:
        sysfs: access to the kernel's files.
        folder: the zone's folder.

    Attributes:
        limit_c: lowest temperature at which the machine slows down or stops; None if it has none.
        unread: what of its trip points cannot be read, in words.
    """

    def __init__(self, sysfs: Sysfs, folder: Path) -> None:
        kind = sysfs.read_text(folder / "type")
        self.name = f"{folder.name}.{kind}"
        self.unread: list[str] = []
        self._sysfs = sysfs
        self._folder = folder
        trips = [] if kind in CONSTANT_ZONES else read_trips(sysfs, folder, self.unread)
        limits_c = (trip.temperature_c for trip in trips if trip.slows_or_stops)
        self.limit_c = min(limits_c, default=None)

    def read_c(self) -> float:
        """Read the temperature, degrees C.

        Raises:
            ImplausibleReadingError: no chip that runs has such a temperature.
            HardwareError: there is none now.
        """
        file = self._folder / "temp"
        return plausible_c(str(file), self._sysfs.read_int(file) * 1e-3)


def thermal_zones(sysfs: Sysfs) -> dict[str, SysfsThermalZone]:
    """Find all thermal zones that have a temperature now, by number and type."""
    return {name: zone for name, zone in all_zones(sysfs).items() if answers(zone)}


def answers(zone: ThermalZone) -> bool:
    """Whether a zone has a temperature; a sensor whose unit sleeps has none (EAGAIN, EINVAL)."""
    try:
        zone.read_c()
    except HardwareError:
        return False
    return True


def all_zones(sysfs: Sysfs, unread: list[str] | None = None) -> dict[str, SysfsThermalZone]:
    """Find all thermal zones, by number and type, those that sleep too.

    Args:
        sysfs: access to the kernel's files.
        unread: gets what of them cannot be read, in words; they do without it.
    """
    unread = [] if unread is None else unread
    zones = {}
    for folder in sysfs.glob(f"{ZONES}/thermal_zone*"):
        with leaving_out(unread):
            zone = SysfsThermalZone(sysfs, folder)
            zones[zone.name] = zone
            unread += zone.unread
    if "raspberry pi" in machine_title(sysfs).lower():
        for zone in zones.values():
            zone.limit_c = min(zone.limit_c or math.inf, RASPBERRY_PI_LIMIT_C)
    return zones


def machine_title(sysfs: Sysfs) -> str:
    """Name of the machine as its firmware tells it, or "unknown machine"."""
    for names in (("proc/device-tree/model",), _DMI):
        words = []
        for path in map(sysfs.path, names):
            with suppress(HardwareError):
                words.append(sysfs.read_text(path))
        if any(words):
            return " ".join(words)
    return "unknown machine"

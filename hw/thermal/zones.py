"""Temperatures by the kernel's thermal zones (Documentation/driver-api/thermal/sysfs-api.rst)."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

from hw.base import ThermalZone
from hw.errors import HardwareError
from hw.left_out import Search
from hw.plausible import plausible_c
from hw.sysfs import Sysfs
from hw.thermal.trips import ZONES, read_trips

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
        search: gets what of its trip points cannot be read.

    Attributes:
        limit_c: lowest temperature at which the machine slows down or stops; None if it has none.
    """

    def __init__(self, sysfs: Sysfs, folder: Path, search: Search) -> None:
        kind = search.name(sysfs, folder / "type")
        self.name = f"{folder.name}.{kind}"
        self._sysfs = sysfs
        self._folder = folder
        trips = [] if kind in CONSTANT_ZONES else read_trips(sysfs, folder, search)
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


def all_zones(sysfs: Sysfs, search: Search | None = None) -> dict[str, SysfsThermalZone]:
    """Find all thermal zones, by number and type, those that sleep too.

    Args:
        sysfs: access to the kernel's files.
        search: gets what of them cannot be read; they do without it.
    """
    search = search or Search()
    zones = {}
    for folder in sysfs.glob(f"{ZONES}/thermal_zone*"):
        with search.leaving_out():
            zone = SysfsThermalZone(sysfs, folder, search)
            zones[zone.name] = zone
    if "raspberry pi" in machine_title(sysfs, search).lower():
        for zone in zones.values():
            zone.limit_c = min(zone.limit_c or math.inf, RASPBERRY_PI_LIMIT_C)
    return zones


def machine_title(sysfs: Sysfs, search: Search | None = None) -> str:
    """Name of the machine as its firmware reports it, or "unknown machine".

    Args:
        sysfs: access to the kernel's files.
        search: gets what of it is there and cannot be read.
    """
    search = search or Search()
    for names in (("proc/device-tree/model",), _DMI):
        words = []
        for path in map(sysfs.path, names):
            if sysfs.exists(path):
                with search.leaving_out():
                    words.append(search.ask(partial(sysfs.read_text, path)))
        if any(words):
            return " ".join(words)
    return "unknown machine"

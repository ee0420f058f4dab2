"""Temperatures by the kernel's thermal zones (Documentation/driver-api/thermal/sysfs-api.rst)."""

from __future__ import annotations

import math
from pathlib import Path

from hw.base import ThermalZone
from hw.errors import HardwareError
from hw.sensors.plausible import plausible_c
from hw.sysfs import Sysfs

ZONES = "sys/class/thermal"
_DMI = ("sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_name")
SLOWING_TRIPS = ("passive", "hot", "critical")
"""Trip points at which the machine slows down or stops; "active" ones only start a fan."""
SENSIBLE_C = (30.0, 150.0)
"""Trip points outside are switched off, or not of a chip."""
CONSTANT_ZONES = ("PMIC-Die",)
"""Older Jetsons: 100 C until an alarm, however cool it is; its limits would guard nothing."""
RASPBERRY_PI_LIMIT_C = 80.0
"""Where the Pi's firmware begins to slow down, whatever the kernel's trip points say."""


class SysfsThermalZone:
    """One thermal zone.

    Args:
        sysfs: access to the kernel's files.
        folder: the zone's folder.
    """

    def __init__(self, sysfs: Sysfs, folder: Path) -> None:
        kind = sysfs.read_text(folder / "type")
        self.name = f"{folder.name}.{kind}"
        self._sysfs = sysfs
        self._folder = folder
        self.limit_c = None if kind in CONSTANT_ZONES else self._read_limit_c()

    def read_c(self) -> float:
        """Read the temperature, degrees C.

        Raises:
            ImplausibleReadingError: no chip that runs has such a temperature.
            HardwareError: there is none now.
        """
        file = self._folder / "temp"
        return plausible_c(str(file), self._sysfs.read_int(file) * 1e-3)

    def _read_limit_c(self) -> float | None:
        """Lowest trip point at which the machine slows down or stops; None if there is none."""
        low_c, high_c = SENSIBLE_C
        limits_c = []
        for kind in self._sysfs.glob(f"{ZONES}/{self._folder.name}/trip_point_*_type"):
            if self._sysfs.read_text(kind) in SLOWING_TRIPS:
                trip = self._folder / kind.name.replace("_type", "_temp")
                limits_c.append(self._sysfs.read_int(trip) * 1e-3)
        return min((c for c in limits_c if low_c <= c <= high_c), default=None)


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


def all_zones(sysfs: Sysfs) -> dict[str, SysfsThermalZone]:
    """Find all thermal zones, by number and type, those that sleep too."""
    zones = {}
    for folder in sysfs.glob(f"{ZONES}/thermal_zone*"):
        zone = SysfsThermalZone(sysfs, folder)
        zones[zone.name] = zone
    if "raspberry pi" in machine_title(sysfs).lower():
        for zone in zones.values():
            zone.limit_c = min(zone.limit_c or math.inf, RASPBERRY_PI_LIMIT_C)
    return zones


def machine_title(sysfs: Sysfs) -> str:
    """Name of the machine as its firmware tells it, or "unknown machine"."""
    for names in (("proc/device-tree/model",), _DMI):
        words = [sysfs.read_text(p) for p in map(sysfs.path, names) if sysfs.exists(p)]
        if any(words):
            return " ".join(words)
    return "unknown machine"

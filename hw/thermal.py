"""Temperatures by the kernel's thermal zones (Documentation/driver-api/thermal/sysfs-api.rst)."""

from __future__ import annotations

from pathlib import Path

from hw.sysfs import Sysfs

ZONES = "sys/class/thermal"
SLOWING_TRIPS = ("passive", "hot", "critical")
"""Trip points at which the machine slows down or stops; "active" ones only start a fan."""


class SysfsThermalZone:
    """One thermal zone.

    Args:
        sysfs: access to the kernel's files.
        folder: the zone's folder.
    """

    def __init__(self, sysfs: Sysfs, folder: Path) -> None:
        self.name = f"{folder.name}.{sysfs.read_text(folder / 'type')}"
        self._sysfs = sysfs
        self._folder = folder

    def read_c(self) -> float:
        """Read the temperature, degrees C."""
        raw_millicelsius = self._sysfs.read_int(self._folder / "temp")
        return raw_millicelsius * 1e-3

    def read_limits_c(self) -> list[float]:
        """Read the trip points at which the machine slows down or stops, degrees C."""
        limits_c = []
        for kind in self._sysfs.glob(f"{ZONES}/{self._folder.name}/trip_point_*_type"):
            if self._sysfs.read_text(kind) in SLOWING_TRIPS:
                trip = self._folder / kind.name.replace("_type", "_temp")
                limits_c.append(self._sysfs.read_int(trip) * 1e-3)
        return limits_c


def thermal_zones(sysfs: Sysfs) -> dict[str, SysfsThermalZone]:
    """Find all thermal zones, by number and type."""
    zones = (SysfsThermalZone(sysfs, folder) for folder in sysfs.glob(f"{ZONES}/thermal_zone*"))
    return {zone.name: zone for zone in zones}

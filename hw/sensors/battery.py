"""Power that a battery gives, by the kernel's power_supply class.

Source: Documentation/ABI/testing/sysfs-class-power; uW, or uV times uA. The sign differs between
drivers, so that the state tells the direction.
"""

from __future__ import annotations

from pathlib import Path

from hw.sysfs import Sysfs

SUPPLIES = "sys/class/power_supply/*"


class BatteryPower:
    """One battery; 0 W while it is charged, for the power then comes from elsewhere."""

    step_w = 1e-3
    period_s = 1.0
    """Most fuel gauges renew about once a second; it is not told."""

    def __init__(self, sysfs: Sysfs, folder: Path) -> None:
        self.name = f"battery.{folder.name}"
        self._sysfs = sysfs
        self._folder = folder

    @property
    def is_discharging(self) -> bool:
        """Whether the machine lives on it."""
        return self._sysfs.read_text(self._folder / "status") == "Discharging"

    def read_w(self) -> float:
        """Read the power that it gives, W."""
        if not self.is_discharging:
            return 0.0
        power = self._folder / "power_now"
        if self._sysfs.exists(power):
            return abs(self._sysfs.read_int(power)) * 1e-6
        raw_uv = self._sysfs.read_int(self._folder / "voltage_now")
        raw_ua = self._sysfs.read_int(self._folder / "current_now")
        return raw_uv * 1e-6 * abs(raw_ua) * 1e-6


def battery_sensors(sysfs: Sysfs) -> list[BatteryPower]:
    """Find all batteries that tell their power."""
    sensors = []
    for folder in sysfs.glob(SUPPLIES):
        tells = any(sysfs.exists(folder / f) for f in ("power_now", "current_now"))
        if tells and sysfs.read_text(folder / "type") == "Battery":
            sensors.append(BatteryPower(sysfs, folder))
    return sensors

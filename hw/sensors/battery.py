"""Power that a battery gives, by the kernel's power_supply class.

Source: Documentation/ABI/testing/sysfs-class-power; uW, or uV times uA. The sign differs between
drivers, so that the state gives the direction.
"""

from __future__ import annotations

from pathlib import Path

from hw.left_out import Search
from hw.plausible import plausible_w
from hw.sysfs import Sysfs

SUPPLIES = "sys/class/power_supply/*"
MOST_W = 500.0
"""More than a laptop's battery gives; USB-C ends at 240 W."""


class BatteryPower:
    """One battery; 0 W while it is charged, for the power then comes from elsewhere."""

    step_w = 1e-3
    period_s = 1.0
    """Most fuel gauges renew about once a second; the driver does not report it."""

    def __init__(self, sysfs: Sysfs, folder: Path) -> None:
        self.name = f"battery.{folder.name}"
        self._sysfs = sysfs
        self._folder = folder

    @property
    def is_discharging(self) -> bool:
        """Whether the machine lives on it."""
        return self._sysfs.read_text(self._folder / "status") == "Discharging"

    def read_w(self) -> float:
        """Read the power that it gives, W.

        Raises:
            ImplausibleReadingError: no machine draws so much.
        """
        if not self.is_discharging:
            return 0.0
        power = self._folder / "power_now"
        if self._sysfs.exists(power):
            return plausible_w(str(power), abs(self._sysfs.read_int(power)) * 1e-6, MOST_W)
        raw_uv = self._sysfs.read_int(self._folder / "voltage_now")
        raw_ua = self._sysfs.read_int(self._folder / "current_now")
        return plausible_w(self.name, raw_uv * 1e-6 * abs(raw_ua) * 1e-6, MOST_W)


def battery_sensors(sysfs: Sysfs, search: Search | None = None) -> list[BatteryPower]:
    """Find all batteries that report their power.

    Args:
        sysfs: access to the kernel's files.
        search: gets the supplies that cannot be read.
    """
    search = search or Search()
    sensors = []
    for folder in sysfs.glob(SUPPLIES):
        tells = any(sysfs.exists(folder / f) for f in ("power_now", "current_now"))
        battery = BatteryPower(sysfs, folder)
        with search.leaving_out(silent=battery.name if tells else None):
            if tells and search.name(sysfs, folder / "type") == "Battery":
                sensors.append(battery)
    return sensors

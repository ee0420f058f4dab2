"""Power sensors by the kernel's hwmon class (Documentation/hwmon/sysfs-interface.rst)."""

from __future__ import annotations

from pathlib import Path

from hw.sysfs import Sysfs

HWMON = "sys/class/hwmon"
UNCONNECTED = "NC"
INA3221_CHANNELS = (1, 2, 3)
"""The chip's further inputs are shunt voltages and sums, no rails."""


class HwmonPower:
    """A sensor that reports power itself, in uW (INA219, INA226 and others)."""

    def __init__(self, sysfs: Sysfs, file: Path, name: str) -> None:
        self.name = name
        self._sysfs = sysfs
        self._file = file

    def read_w(self) -> float:
        """Read the power, W."""
        raw_uw = self._sysfs.read_int(self._file)
        return raw_uw * 1e-6


class Ina3221Power:
    """A channel of an INA3221, which reports voltage (mV) and current (mA) but no power."""

    def __init__(self, sysfs: Sysfs, folder: Path, channel: int, name: str) -> None:
        self.name = name
        self._sysfs = sysfs
        self._voltage = folder / f"in{channel}_input"
        self._current = folder / f"curr{channel}_input"

    def read_w(self) -> float:
        """Read voltage times current, W; the two are not sampled at the same instant."""
        raw_mv = self._sysfs.read_int(self._voltage)
        raw_ma = self._sysfs.read_int(self._current)
        return raw_mv * 1e-3 * raw_ma * 1e-3


def power_sensors(sysfs: Sysfs) -> dict[str, HwmonPower | Ina3221Power]:
    """Find all power sensors, by rail name."""
    sensors: dict[str, HwmonPower | Ina3221Power] = {}
    for folder in sysfs.glob(f"{HWMON}/hwmon*"):
        chip = sysfs.read_text(folder / "name")
        found = _ina3221(sysfs, folder) if chip == "ina3221" else _direct(sysfs, folder, chip)
        for sensor in found:
            # Two chips may use the same label.
            name = sensor.name if sensor.name not in sensors else f"{folder.name}.{sensor.name}"
            sensor.name = name
            sensors[name] = sensor
    return sensors


def _ina3221(sysfs: Sysfs, folder: Path) -> list[Ina3221Power]:
    channels = []
    for channel in INA3221_CHANNELS:
        label = folder / f"in{channel}_label"
        if sysfs.exists(label) and sysfs.read_text(label) != UNCONNECTED:
            channels.append(Ina3221Power(sysfs, folder, channel, sysfs.read_text(label)))
    return channels


def _direct(sysfs: Sysfs, folder: Path, chip: str) -> list[HwmonPower]:
    sensors = []
    for file in sysfs.glob(f"{HWMON}/{folder.name}/power*_input"):
        label = folder / file.name.replace("_input", "_label")
        name = sysfs.read_text(label) if sysfs.exists(label) else f"{chip}.{file.name[:-6]}"
        sensors.append(HwmonPower(sysfs, file, name))
    return sensors

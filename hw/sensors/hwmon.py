"""Power sensors by the kernel's hwmon class.

Source: Documentation/hwmon/sysfs-interface.rst, ina3221.rst, ina2xx.rst and ina238.rst;
drivers/hwmon/ina3221.c, ina2xx.c and ina238.c for steps, defaults and conversion times.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hw.errors import HardwareError
from hw.sysfs import Sysfs

HWMON = "sys/class/hwmon"
UNCONNECTED = "NC"
INA3221_CHANNELS = (1, 2, 3)
"""The chip's further inputs are shunt voltages and sums, no rails."""
INA3221_SHUNT_STEP_UV = 40
INA3221_BUS_STEP_MV = 8
INA3221_PERIOD_S = 6.6e-3
"""Three channels, two conversions of 1.1 ms each, no averaging: the driver's default."""
DEFAULT_PERIOD_S = 0.1
"""Assumed of a chip that does not say how often it measures."""
DEFAULT_STEP_W = 1e-6
"""The kernel's unit, of a chip whose own steps are unknown."""
DEFAULT_SHUNT_UOHM = 10_000
"""What both drivers assume of a board that does not tell."""


@dataclass(frozen=True, slots=True)
class _Chip:
    """A chip that multiplies by itself, as its driver sets it up.

    Attributes:
        shunt_step_uv: one step of the current, across the shunt.
        power_factor_v: one step of the power, in steps of the current times volts.
        bus_step_v: one step of the voltage.
        period_s: time between two new readings, where the driver does not tell.
    """

    shunt_step_uv: float
    power_factor_v: float
    bus_step_v: float
    period_s: float


_INA219 = _Chip(10.0, 20.0, 4e-3, 1.1e-3)
_INA226 = _Chip(2.5, 25.0, 1.25e-3, 35.2e-3)
_INA238 = _Chip(20.0, 0.2, 3.125e-3, 50.5e-3)
_CHIPS = {
    **dict.fromkeys(("ina219", "ina220"), _INA219),
    **dict.fromkeys(("ina226", "ina230", "ina231"), _INA226),
    **dict.fromkeys(("ina237", "ina238"), _INA238),
}
"""At the calibration that drivers fix since 4.16 and its stable updates; the INA238's of 2025 are
finer. The INA238 does not tell its shunt."""


class HwmonPower:
    """A sensor that reports power itself, in uW (INA219, INA226, INA238 and others).

    Attributes:
        step_w: smallest difference that it shows at the highest power seen.
    """

    def __init__(self, sysfs: Sysfs, file: Path, name: str, chip: str) -> None:
        self.name = name
        self.step_w = DEFAULT_STEP_W
        self._sysfs = sysfs
        self._file = file
        self._chip = _CHIPS.get(chip)
        default_s = self._chip.period_s if self._chip else DEFAULT_PERIOD_S
        self.period_s = _update_interval_s(sysfs, file.parent, default_s)
        self._voltage_v: float | None = None
        self._step_a = 0.0

    def read_w(self) -> float:
        """Read the power, W."""
        power_w = self._sysfs.read_int(self._file) * 1e-6
        if self._chip is not None:
            self.step_w = max(self.step_w, self._step_w(self._chip, power_w))
        return power_w

    def _step_w(self, chip: _Chip, power_w: float) -> float:
        """Steps of the product and of both factors, W; the voltage is read once."""
        if self._voltage_v is None:
            folder = self._file.parent
            self._voltage_v = self._sysfs.read_int(folder / "in1_input") * 1e-3
            shunt = folder / "shunt_resistor"
            known = self._sysfs.exists(shunt)
            shunt_uohm = self._sysfs.read_int(shunt) if known else DEFAULT_SHUNT_UOHM
            self._step_a = chip.shunt_step_uv / max(shunt_uohm, 1)
        by_current_w = self._step_a * self._voltage_v
        by_voltage_w = chip.bus_step_v * power_w / max(self._voltage_v, chip.bus_step_v)
        return self._step_a * chip.power_factor_v + by_current_w + by_voltage_w


class Ina3221Power:
    """A channel of an INA3221, which reports voltage (mV) and current (mA) but no power.

    Attributes:
        step_w: smallest difference that it shows at the highest power seen.
    """

    def __init__(self, sysfs: Sysfs, folder: Path, channel: int, name: str) -> None:
        self.name = name
        self.step_w = DEFAULT_STEP_W
        self.period_s = _update_interval_s(sysfs, folder, INA3221_PERIOD_S)
        self._sysfs = sysfs
        self._voltage = folder / f"in{channel}_input"
        self._current = folder / f"curr{channel}_input"
        shunt = folder / f"shunt{channel}_resistor"
        shunt_uohm = sysfs.read_int(shunt) if sysfs.exists(shunt) else DEFAULT_SHUNT_UOHM
        self._step_a = INA3221_SHUNT_STEP_UV / max(shunt_uohm, 1)

    def read_w(self) -> float:
        """Read voltage times current, W; the two are not sampled at the same instant."""
        raw_mv = self._sysfs.read_int(self._voltage)
        raw_ma = self._sysfs.read_int(self._current)
        self.step_w = max(self.step_w, ina3221_step_w(raw_mv, raw_ma, self._step_a))
        return raw_mv * 1e-3 * raw_ma * 1e-3


def ina3221_step_w(raw_mv: int, raw_ma: int, step_a: float) -> float:
    """Step of the current at a voltage, plus step of the voltage at a current, W."""
    return step_a * abs(raw_mv) * 1e-3 + INA3221_BUS_STEP_MV * 1e-3 * abs(raw_ma) * 1e-3


def hwmon_sensors(sysfs: Sysfs) -> list[HwmonPower | Ina3221Power]:
    """Find all power sensors; labels may stand twice."""
    sensors: list[HwmonPower | Ina3221Power] = []
    for folder in sysfs.glob(f"{HWMON}/hwmon*"):
        chip = sysfs.read_text(folder / "name")
        sensors += _ina3221(sysfs, folder) if chip == "ina3221" else _direct(sysfs, folder, chip)
    return sensors


def _ina3221(sysfs: Sysfs, folder: Path) -> list[Ina3221Power]:
    channels = []
    for channel in INA3221_CHANNELS:
        enabled, label = folder / f"in{channel}_enable", folder / f"in{channel}_label"
        if sysfs.exists(enabled) and sysfs.read_text(enabled) == "0":
            continue
        name = sysfs.read_text(label) if sysfs.exists(label) else f"ina3221.{channel}"
        if name != UNCONNECTED and sysfs.exists(folder / f"curr{channel}_input"):
            channels.append(Ina3221Power(sysfs, folder, channel, name))
    return channels


def _direct(sysfs: Sysfs, folder: Path, chip: str) -> list[HwmonPower]:
    sensors = []
    for file in sysfs.glob(f"{HWMON}/{folder.name}/power*_input"):
        label = folder / file.name.replace("_input", "_label")
        name = sysfs.read_text(label) if sysfs.exists(label) else f"{chip}.{file.name[:-6]}"
        sensors.append(HwmonPower(sysfs, file, name, chip))
    return sensors


def _update_interval_s(sysfs: Sysfs, folder: Path, default_s: float) -> float:
    """Time between two new readings, which not every driver tells."""
    interval = folder / "update_interval"
    try:
        raw_ms = sysfs.read_int(interval) if sysfs.exists(interval) else 0
    except HardwareError:
        raw_ms = 0
    return raw_ms * 1e-3 if raw_ms > 0 else default_s

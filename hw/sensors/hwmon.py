"""Power sensors by the kernel's hwmon class.

Source: Documentation/hwmon/sysfs-interface.rst, ina3221.rst, ina2xx.rst and ina238.rst;
drivers/hwmon/ina3221.c, ina2xx.c and ina238.c for steps, defaults and conversion times.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hw.errors import HardwareError
from hw.left_out import Search
from hw.plausible import plausible_w
from hw.sysfs import Sysfs

HWMON = "sys/class/hwmon"
UNCONNECTED = "NC"
INA3221_CHANNELS = (1, 2, 3)
"""The chip's further inputs are shunt voltages and sums, no rails."""
INA3221_SHUNT_STEP_UV = 40
INA3221_BUS_STEP_MV = 8
INA3221_SHUNT_RANGE_UV = 163_800
INA3221_BUS_RANGE_V = 26.0
INA3221_PERIOD_S = 6.6e-3
"""Three channels, two conversions of 1.1 ms each, no averaging: the driver's default."""
DEFAULT_PERIOD_S = 0.1
"""Assumed of a chip that does not say how often it measures."""
DEFAULT_STEP_W = 1e-6
"""The kernel's unit, of a chip whose own steps are unknown."""
DEFAULT_SHUNT_UOHM = 10_000
"""What both drivers assume of a board that does not report it."""


@dataclass(frozen=True, slots=True)
class _Chip:
    """A chip that multiplies by itself, as its driver sets it up.

    Attributes:
        shunt_step_uv: one step of the current, across the shunt.
        power_factor_v: one step of the power, in steps of the current times volts.
        bus_step_v: one step of the voltage.
        shunt_range_uv: the most that it measures across the shunt.
        bus_range_v: the highest voltage that it measures.
        period_s: time between two new readings, where the driver does not report it.
    """

    shunt_step_uv: float
    power_factor_v: float
    bus_step_v: float
    shunt_range_uv: float
    bus_range_v: float
    period_s: float


_INA219 = _Chip(10.0, 20.0, 4e-3, 320_000.0, 26.0, 1.1e-3)
_INA226 = _Chip(2.5, 25.0, 1.25e-3, 81_920.0, 36.0, 35.2e-3)
_INA238 = _Chip(20.0, 0.2, 3.125e-3, 163_840.0, 85.0, 50.5e-3)
_CHIPS = {
    **dict.fromkeys(("ina219", "ina220"), _INA219),
    **dict.fromkeys(("ina226", "ina230", "ina231"), _INA226),
    **dict.fromkeys(("ina237", "ina238"), _INA238),
}
"""At the calibration that drivers fix since 4.16 and its stable updates; the INA238's of 2025 are
finer. The INA238 does not report its shunt."""


@dataclass(frozen=True, slots=True)
class Shunt:
    """The resistor whose voltage gives a chip the current.

    Attributes:
        uohm: by which the driver computes, uOhm.
        is_default: whether that is what a driver assumes of a board that does not report it.
    """

    uohm: int
    is_default: bool


class HwmonPower:
    """A sensor that reports power itself, in uW (INA219, INA226, INA238 and others).

    Attributes:
        step_w: smallest difference that it shows at the highest power seen.
        shunt: resistor by which its driver computes; None of a chip that has none.
    """

    def __init__(self, sysfs: Sysfs, file: Path, name: str, chip: str, search: Search) -> None:
        self.name = name
        self.step_w = DEFAULT_STEP_W
        self.shunt: Shunt | None = None
        self._sysfs = sysfs
        self._file = file
        self._chip = _CHIPS.get(chip)
        default_s = self._chip.period_s if self._chip else DEFAULT_PERIOD_S
        self.period_s = _update_interval_s(sysfs, file.parent, default_s, search)
        if self._chip is not None:
            self.shunt = _read_shunt(sysfs, file.parent / "shunt_resistor", search)
        self._voltage_v: float | None = None

    def read_w(self) -> float:
        """Read the power, W.

        Raises:
            ImplausibleReadingError: the chip could not measure that.
        """
        power_w = self._sysfs.read_int(self._file) * 1e-6
        if self._chip is None or self.shunt is None:
            return plausible_w(str(self._file), power_w)
        most_w = self._chip.shunt_range_uv / self.shunt.uohm * self._chip.bus_range_v
        step_w = self._step_w(self._chip, self.shunt, power_w)
        plausible_w(str(self._file), power_w, most_w, step_w)
        self.step_w = max(self.step_w, step_w)
        return power_w

    def _step_w(self, chip: _Chip, shunt: Shunt, power_w: float) -> float:
        """Steps of the product and of both factors, W; the voltage is read once."""
        if self._voltage_v is None:
            # Without it the step is that of the highest voltage: an error that is too large.
            with suppress(HardwareError):
                raw_v = self._sysfs.read_int(self._file.parent / "in1_input") * 1e-3
                self._voltage_v = raw_v if 0.0 <= raw_v <= chip.bus_range_v else None
        voltage_v = chip.bus_range_v if self._voltage_v is None else self._voltage_v
        step_a = chip.shunt_step_uv / shunt.uohm
        by_voltage_w = chip.bus_step_v * abs(power_w) / max(voltage_v, chip.bus_step_v)
        return step_a * chip.power_factor_v + step_a * voltage_v + by_voltage_w


class Ina3221Power:
    """A channel of an INA3221, which reports voltage (mV) and current (mA) but no power.

    Attributes:
        step_w: smallest difference that it shows at the highest power seen.
        shunt: resistor by which its driver computes.
    """

    def __init__(self, sysfs: Sysfs, folder: Path, channel: int, name: str, search: Search) -> None:
        self.name = name
        self.step_w = DEFAULT_STEP_W
        self.period_s = _update_interval_s(sysfs, folder, INA3221_PERIOD_S, search)
        self._sysfs = sysfs
        self._voltage = folder / f"in{channel}_input"
        self._current = folder / f"curr{channel}_input"
        self.shunt = _read_shunt(sysfs, folder / f"shunt{channel}_resistor", search)
        self._step_a = INA3221_SHUNT_STEP_UV / self.shunt.uohm
        self._most_w = INA3221_SHUNT_RANGE_UV / self.shunt.uohm * INA3221_BUS_RANGE_V

    def read_w(self) -> float:
        """Read voltage times current, W; the two are not sampled at the same instant.

        Raises:
            ImplausibleReadingError: the chip could not measure that.
        """
        raw_mv = self._sysfs.read_int(self._voltage)
        raw_ma = self._sysfs.read_int(self._current)
        step_w = ina3221_step_w(raw_mv, raw_ma, self._step_a)
        power_w = raw_mv * 1e-3 * raw_ma * 1e-3
        plausible_w(f"{self.name} ({self._current})", power_w, self._most_w, step_w)
        self.step_w = max(self.step_w, step_w)
        return power_w


def ina3221_step_w(raw_mv: int, raw_ma: int, step_a: float) -> float:
    """Step of the current at a voltage, plus step of the voltage at a current, W."""
    return step_a * abs(raw_mv) * 1e-3 + INA3221_BUS_STEP_MV * 1e-3 * abs(raw_ma) * 1e-3


def _read_shunt(sysfs: Sysfs, file: Path, search: Search) -> Shunt:
    uohm = 0
    with suppress(HardwareError):
        uohm = search.ask(lambda: sysfs.read_int(file))
    known = uohm > 0
    return Shunt(uohm if known else DEFAULT_SHUNT_UOHM, not known or uohm == DEFAULT_SHUNT_UOHM)


def hwmon_sensors(sysfs: Sysfs, search: Search | None = None) -> list[HwmonPower | Ina3221Power]:
    """Find all power sensors; labels may stand twice.

    Args:
        sysfs: access to the kernel's files.
        search: gets the chips and channels that cannot be read.
    """
    search = search or Search()
    sensors: list[HwmonPower | Ina3221Power] = []
    for folder in sysfs.glob(f"{HWMON}/hwmon*"):
        rails = f"the rails of {folder.name}" if _has_power(sysfs, folder) else None
        with search.leaving_out(nameless=rails):
            chip = search.name(sysfs, folder / "name")
            if chip == "ina3221":
                sensors += _ina3221(sysfs, folder, search)
            else:
                sensors += _direct(sysfs, folder, chip, search)
    return sensors


def _has_power(sysfs: Sysfs, folder: Path) -> bool:
    """Whether a chip measures power, or current and voltage as an INA3221 does."""
    if sysfs.glob(f"{HWMON}/{folder.name}/power*_input"):
        return True
    return any(
        sysfs.exists(folder / f"curr{n}_input") and sysfs.exists(folder / f"in{n}_input")
        for n in INA3221_CHANNELS
    )


def _ina3221(sysfs: Sysfs, folder: Path, search: Search) -> list[Ina3221Power]:
    channels = []
    for channel in INA3221_CHANNELS:
        label = folder / f"in{channel}_label"
        if not sysfs.exists(folder / f"curr{channel}_input"):
            continue
        if not _is_enabled(sysfs, folder / f"in{channel}_enable", search):
            continue
        with search.leaving_out(nameless=f"channel {channel} of {folder.name}"):
            name = search.name(sysfs, label) if sysfs.exists(label) else f"ina3221.{channel}"
            if name != UNCONNECTED:
                channels.append(Ina3221Power(sysfs, folder, channel, name, search))
    return channels


def _is_enabled(sysfs: Sysfs, file: Path, search: Search) -> bool:
    """Whether a channel measures; one that does not say so is tried, for one that is off fails."""
    with search.leaving_out():
        return not sysfs.exists(file) or search.name(sysfs, file) != "0"
    return True


def _direct(sysfs: Sysfs, folder: Path, chip: str, search: Search) -> list[HwmonPower]:
    sensors = []
    for file in sysfs.glob(f"{HWMON}/{folder.name}/power*_input"):
        label = folder / file.name.replace("_input", "_label")
        with search.leaving_out(nameless=f"{file.name[:-6]} of {folder.name}"):
            named = sysfs.exists(label)
            name = search.name(sysfs, label) if named else f"{chip}.{file.name[:-6]}"
            sensors.append(HwmonPower(sysfs, file, name, chip, search))
    return sensors


def _update_interval_s(sysfs: Sysfs, folder: Path, default_s: float, search: Search) -> float:
    """Time between two new readings, which not every driver reports."""
    interval = folder / "update_interval"
    raw_ms = 0
    with suppress(HardwareError):
        if sysfs.exists(interval):
            raw_ms = search.ask(lambda: sysfs.read_int(interval))
    return raw_ms * 1e-3 if raw_ms > 0 else default_s

"""Power monitors by hwmon and by L4T's old iio driver: set in V and W, quantised as by chips."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.hw.fake.attribute import Attribute, Computed, Stored, strict_number
from tests.hw.fake.kernel import FakeKernel

CLASS = "sys/class/hwmon"
IIO_DRIVER = "sys/bus/i2c/drivers/ina3221x"
_BUS_STEP_MV = 8
_SHUNT_STEP_UV = 40
_N_CHANNELS = 3
UNCONNECTED = "NC"


@dataclass
class Rail:
    """A supply rail at one channel.

    Attributes:
        label: its name.
        shunt_mohm: resistor.
        volts: between rail and ground.
        watts: power, for tests to change.
        is_enabled: whether its channel is measured.
    """

    label: str
    shunt_mohm: float = 5.0
    volts: float = 5.0
    watts: float = 1.0
    is_enabled: bool = True

    def read_mv(self) -> int:
        """Bus voltage as the INA3221 sees it."""
        return round(self.volts * 1000 / _BUS_STEP_MV) * _BUS_STEP_MV

    def read_shunt_uv(self) -> int:
        """Shunt voltage as the INA3221 sees it."""
        exact_uv = self.watts / self.volts * self.shunt_mohm * 1000
        return round(exact_uv / _SHUNT_STEP_UV) * _SHUNT_STEP_UV

    def read_ma(self) -> int:
        """Current as the driver computes it."""
        return round(self.read_shunt_uv() / self.shunt_mohm)


def add_chip(kernel: FakeKernel, device: str, name: str, files: Mapping[str, object]) -> str:
    """Add a hwmon chip under a device's folder, with the next free number; return its folder."""
    number = len(kernel.glob(f"{CLASS}/hwmon*"))
    folder = f"{device}/hwmon/hwmon{number}"
    attributes = {
        file: value if isinstance(value, Attribute) else str(value) for file, value in files.items()
    }
    kernel.add({"name": name, **attributes}, folder)
    kernel.link(f"{folder}/device", device)
    kernel.link(f"{CLASS}/hwmon{number}", folder)
    return folder


def add_ina3221(kernel: FakeKernel, device: str, rails: Sequence[Rail | None]) -> str:
    """The upstream driver: mV and mA, no power; a channel without a rail is disabled and "NC"."""
    files: dict[str, object] = {
        "update_interval": Stored(7),
        "samples": Stored(1, ("1", "4", "16", "64", "128", "256", "512", "1024")),
    }
    channels = [rail or Rail(UNCONNECTED, is_enabled=False) for rail in rails]
    while len(channels) < _N_CHANNELS:
        channels.append(Rail(UNCONNECTED, is_enabled=False))
    for number, rail in enumerate(channels, start=1):
        files |= _ina3221_channel(number, rail)

    def total(values: Iterable[int]) -> int:
        return sum(value for value, rail in zip(values, channels, strict=True) if rail.is_enabled)

    files |= {
        "in7_label": "sum of shunt voltages",
        "in7_input": Computed(lambda: total(rail.read_shunt_uv() for rail in channels)),
        "curr4_input": Computed(lambda: total(rail.read_ma() for rail in channels)),
    }
    _remember(kernel, rails)
    return add_chip(kernel, device, "ina3221", files)


def _ina3221_channel(number: int, rail: Rail) -> dict[str, object]:
    def enabled(value: int) -> int:
        if not rail.is_enabled:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        return value

    def store_enable(value: str) -> None:
        rail.is_enabled = bool(strict_number(value))

    return {
        f"in{number}_label": rail.label,
        f"in{number}_enable": Computed(lambda: int(rail.is_enabled), store_enable),
        f"in{number}_input": Computed(lambda: enabled(rail.read_mv())),
        f"in{number + _N_CHANNELS}_input": Computed(lambda: enabled(rail.read_shunt_uv())),
        f"curr{number}_input": Computed(lambda: enabled(rail.read_ma())),
        f"shunt{number}_resistor": Stored(round(rail.shunt_mohm * 1000)),
    }


def add_ina3221_iio(
    kernel: FakeKernel, device: str, rails: Sequence[Rail], number: int = 0
) -> None:
    """L4T's driver of JetPack 4: rail names, mV, mA and mW, channels from 0."""
    folder = f"{device}/iio:device{number}"
    for channel, rail in enumerate(rails):
        kernel.add(
            {
                f"rail_name_{channel}": rail.label,
                f"in_voltage{channel}_input": Computed(rail.read_mv),
                f"in_current{channel}_input": Computed(rail.read_ma),
                f"in_power{channel}_input": Computed(
                    lambda rail=rail: rail.read_mv() * rail.read_ma() // 1000
                ),
            },
            folder,
        )
    kernel.add({"name": "ina3221x"}, folder)
    kernel.link(f"{IIO_DRIVER}/{device.rpartition('/')[2]}", device)
    _remember(kernel, rails)


@dataclass(frozen=True)
class _Ina2xx:
    """Steps of a chip: bus voltage, shunt voltage, and power in steps of current times volts.

    The INA219 tells no update interval, the INA238 neither that nor its shunt.
    """

    bus_step_uv: int
    shunt_step_nv: int
    power_steps: float
    update_interval_ms: int | None
    shunt_range_uv: int
    has_shunt: bool = True


_INA2XX = {
    "ina219": _Ina2xx(4000, 10_000, 20, None, 320_000),
    "ina226": _Ina2xx(1250, 2500, 25, 35, 81_920),
    # At the driver's calibration a step of the current is four of the converter's.
    "ina238": _Ina2xx(3125, 20_000, 0.2, None, 163_840, has_shunt=False),
}


def add_ina2xx(
    kernel: FakeKernel, device: str, chip: str, rail: Rail, *, told_mohm: float | None = None
) -> str:
    """A chip with one channel that computes power itself, in uW; it has no label.

    Args:
        kernel: gets the attributes.
        device: folder of the device.
        chip: "ina219", "ina226" or "ina238".
        rail: what it measures.
        told_mohm: shunt by which the driver computes; the real one if not given.
    """
    steps = _INA2XX[chip]
    driver_mohm = told_mohm or rail.shunt_mohm

    def shunt_nv() -> int:
        exact_nv = rail.watts / rail.volts * rail.shunt_mohm * 1e6
        shown_nv = min(exact_nv, 1000 * steps.shunt_range_uv)  # the converter saturates
        return round(shown_nv / steps.shunt_step_nv) * steps.shunt_step_nv

    def bus_uv() -> int:
        return round(rail.volts * 1e6 / steps.bus_step_uv) * steps.bus_step_uv

    def power_uw() -> int:
        step_uw = steps.shunt_step_nv / driver_mohm * steps.power_steps
        return round(round(bus_uv() * shunt_nv() / driver_mohm * 1e-6 / step_uw) * step_uw)

    files: dict[str, object] = {
        "in0_input": Computed(lambda: round(shunt_nv() * 1e-6)),
        "in1_input": Computed(lambda: round(bus_uv() * 1e-3)),
        "curr1_input": Computed(lambda: round(shunt_nv() / driver_mohm * 1e-3)),
        "power1_input": Computed(power_uw),
    }
    if steps.has_shunt:
        files["shunt_resistor"] = Stored(round(driver_mohm * 1000))
    if steps.update_interval_ms is not None:
        files["update_interval"] = Stored(steps.update_interval_ms)
    _remember(kernel, [rail])
    return add_chip(kernel, device, chip, files)


def _remember(kernel: FakeKernel, rails: Sequence[Rail | None]) -> None:
    """Rails by name in kernel.devices, so that tests can set their power."""
    kernel.devices.update({rail.label: rail for rail in rails if rail is not None})

"""INA3221 power monitors as L4T of JetPack 4 shows them: an iio device of NVIDIA's own driver."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hw.errors import HardwareError
from hw.left_out import Search
from hw.plausible import plausible_w
from hw.sensors.hwmon import (
    DEFAULT_STEP_W,
    INA3221_BUS_RANGE_V,
    INA3221_CHANNELS,
    INA3221_PERIOD_S,
    INA3221_SHUNT_RANGE_UV,
    UNCONNECTED,
    ina3221_step_w,
)
from hw.sysfs import Sysfs

DEVICES = "sys/bus/i2c/drivers/ina3221x/*/iio:device*"
STEP_A = 8e-3
"""40 uV over a shunt of 5 mOhm, the smallest on these boards; their driver does not report it."""
SMALLEST_SHUNT_UOHM = 5_000
HIGHEST_MV = round(INA3221_BUS_RANGE_V * 1000)
MOST_W = INA3221_SHUNT_RANGE_UV / SMALLEST_SHUNT_UOHM * INA3221_BUS_RANGE_V
UNIT_W = 1e-3


class IioPower:
    """A channel that reports power itself, in mW.

    Attributes:
        step_w: smallest difference that it shows at the highest power seen.
    """

    period_s = INA3221_PERIOD_S

    def __init__(self, sysfs: Sysfs, folder: Path, channel: int, name: str) -> None:
        self.name = name
        self.step_w = DEFAULT_STEP_W
        self._sysfs = sysfs
        self._power = folder / f"in_power{channel}_input"
        self._voltage = folder / f"in_voltage{channel}_input"
        self._raw_mv: int | None = None

    def read_w(self) -> float:
        """Read the power, W; the voltage, which the step depends on, is read once.

        Raises:
            ImplausibleReadingError: the chip could not measure that.
        """
        raw_mw = self._sysfs.read_int(self._power)
        if self._raw_mv is None:
            # Without it the step is that of the highest voltage: an error that is too large.
            with suppress(HardwareError):
                raw_mv = self._sysfs.read_int(self._voltage)
                self._raw_mv = raw_mv if 0 < raw_mv <= HIGHEST_MV else None
        raw_mv = self._raw_mv or HIGHEST_MV
        # The driver cuts the product off at whole mW.
        step_w = 2 * UNIT_W + ina3221_step_w(raw_mv, 1000 * raw_mw // raw_mv, STEP_A)
        plausible_w(f"{self.name} ({self._power})", raw_mw * UNIT_W, MOST_W, step_w)
        self.step_w = max(self.step_w, step_w)
        return raw_mw * UNIT_W


def iio_sensors(sysfs: Sysfs, search: Search | None = None) -> list[IioPower]:
    """Find all connected channels.

    Args:
        sysfs: access to the kernel's files.
        search: gets the channels that cannot be read.
    """
    search = search or Search()
    sensors = []
    for folder in sysfs.glob(DEVICES):
        for channel in range(len(INA3221_CHANNELS)):
            label = folder / f"rail_name_{channel}"
            if not sysfs.exists(label):
                continue
            with search.leaving_out(nameless=f"channel {channel} of {folder.name}"):
                name = search.name(sysfs, label)
                if name != UNCONNECTED:
                    sensors.append(IioPower(sysfs, folder, channel, name))
    return sensors

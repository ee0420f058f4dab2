"""INA3221 power monitors as L4T of JetPack 4 shows them: an iio device of NVIDIA's own driver."""

from __future__ import annotations

from pathlib import Path

from hw.sensors.hwmon import (
    DEFAULT_STEP_W,
    INA3221_CHANNELS,
    INA3221_PERIOD_S,
    UNCONNECTED,
    ina3221_step_w,
)
from hw.sysfs import Sysfs

DEVICES = "sys/bus/i2c/drivers/ina3221x/*/iio:device*"
STEP_A = 8e-3
"""40 uV over a shunt of 5 mOhm, the smallest on these boards; their driver does not tell."""
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
        """Read the power, W; the voltage, which the step depends on, is read once."""
        raw_mw = self._sysfs.read_int(self._power)
        if self._raw_mv is None:
            self._raw_mv = self._sysfs.read_int(self._voltage)
        raw_ma = 1000 * raw_mw // max(self._raw_mv, 1)
        # The driver cuts the product off at whole mW.
        self.step_w = max(self.step_w, 2 * UNIT_W + ina3221_step_w(self._raw_mv, raw_ma, STEP_A))
        return raw_mw * UNIT_W


def iio_sensors(sysfs: Sysfs) -> list[IioPower]:
    """Find all connected channels."""
    sensors = []
    for folder in sysfs.glob(DEVICES):
        for channel in range(len(INA3221_CHANNELS)):
            label = folder / f"rail_name_{channel}"
            if sysfs.exists(label) and sysfs.read_text(label) != UNCONNECTED:
                sensors.append(IioPower(sysfs, folder, channel, sysfs.read_text(label)))
    return sensors

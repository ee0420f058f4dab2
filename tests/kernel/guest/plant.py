"""A modelled board behind the real drivers: `python -m tests.kernel.guest.plant CONTROL`.

Every 20 ms it reads the clocks in force and sets what the power monitor and the thermal zone show,
by the device model of the Jetson TX2. It does so while the file CONTROL exists, which holds JSON:
`cpu_util`, `gpu_util`, `traffic_bytes_per_s` and `ambient_c`, all optional. It prints "ready" once
and ends when its standard input is closed.
"""

from __future__ import annotations

import json
import select
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hw.device.model import DeviceModel, RailPower
from tests.kernel.guest.i2c import Ina3221
from tests.kernel.guest.machine import EMC, GPU, TEMPERATURE, hwmon, policies, read, write

PERIOD_S = 0.02
HEAT_PERIOD_S = 0.1
INPUT, GPU_RAIL, CPU_RAIL = 1, 2, 3


@dataclass(frozen=True)
class Load:
    """What the board is doing."""

    cpu_util: float = 0.0
    gpu_util: float = 0.0
    traffic_bytes_per_s: float = 0.0
    ambient_c: float = 25.0


class Plant:
    """A TX2's power and heat, at the clocks that the kernel shows."""

    def __init__(self) -> None:
        self._device = DeviceModel.load("tx2")
        chip = hwmon("ina3221")
        shunt_ohm = [int(read(chip / f"shunt{n}_resistor")) * 1e-6 for n in (1, 2, 3)]
        self._monitor = Ina3221(shunt_ohm)
        self._power = lru_cache(maxsize=1024)(self._modelled)
        self._nodes = (0.0, 0.0)
        self._heated_s: float | None = None

    def step(self, load: Load, now_s: float) -> None:
        """Show power and temperature for now."""
        clocks = (
            int(read(policies()[0] / "scaling_cur_freq")) * 1000,
            int(read(GPU / "cur_freq")),
            int(read(EMC / "cur_freq")),
        )
        power = self._power(clocks, load)
        supply_v = self._device.sensor.supply_v
        for channel, watt in (
            (INPUT, power.total_w),
            (GPU_RAIL, power.gpu_w),
            (CPU_RAIL, power.cpu_w),
        ):
            self._monitor.measure(channel, supply_v, float(watt) / supply_v)
        self._heat(power, load, now_s)

    def pause(self) -> None:
        """Forget the time until the next step."""
        self._heated_s = None

    def _heat(self, power: RailPower, load: Load, now_s: float) -> None:
        if self._heated_s is not None:
            if now_s - self._heated_s < HEAT_PERIOD_S:
                return
            passed_s = now_s - self._heated_s
            fast_c, slow_c = self._device.thermal.step(*self._nodes, power.total_w, passed_s)
            self._nodes = (float(fast_c), float(slow_c))
        self._heated_s = now_s
        hottest_c = self._device.thermal.temperature_c(load.ambient_c, *self._nodes)
        write(TEMPERATURE, round(float(hottest_c) * 1000))

    def _modelled(self, clocks: tuple[int, int, int], load: Load) -> RailPower:
        return self._device.power.rails_w(
            *clocks,
            cpu_util=load.cpu_util,
            gpu_util=load.gpu_util,
            traffic_bytes_per_s=load.traffic_bytes_per_s,
        )


def main() -> None:
    """Run until standard input is closed."""
    control = Path(sys.argv[1])
    plant = Plant()
    print("ready", flush=True)
    while True:
        start_s = time.monotonic()
        try:
            load = Load(**json.loads(control.read_text(encoding="utf-8")))
        except FileNotFoundError:
            plant.pause()
        else:
            plant.step(load, start_s)
        rest_s = max(0.0, start_s + PERIOD_S - time.monotonic())
        if select.select([sys.stdin], [], [], rest_s)[0]:
            return


if __name__ == "__main__":
    main()

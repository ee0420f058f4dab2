"""A board whose power follows its clocks and its load, over any fake kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tests.hw.fake.cpufreq import CpufreqPolicy
from tests.hw.fake.devfreq import DevfreqDevice
from tests.hw.fake.emc import Emc
from tests.hw.fake.energy import Battery, Pmic, RaplZone
from tests.hw.fake.hwmon import Rail
from tests.hw.fake.kernel import FakeKernel


class Plant:
    """What keeps a fake board's processors busy, and what it draws then.

    Args:
        kernel: a board.

    Attributes:
        is_loaded: whether all processors are busy.
    """

    def __init__(self, kernel: FakeKernel) -> None:
        self.is_loaded = False
        self._kernel = kernel
        self._policies = [d for d in kernel.devices.values() if isinstance(d, CpufreqPolicy)]
        self._drawn = [_draw(device) for device in kernel.devices.values()]
        self._drawn = [draw for draw in self._drawn if draw is not None]
        self._step()
        kernel.before_access = self._before_access

    @contextmanager
    def load(self) -> Iterator[None]:
        """Keep all processors busy; for a self-test's `load`."""
        self._set_load(1.0)
        try:
            yield
        finally:
            self._set_load(0.0)

    def _set_load(self, load: float) -> None:
        self.is_loaded = load > 0
        for policy in self._policies:
            policy.load = load
        self._step()

    def _before_access(self, operation: str, path: str) -> None:
        self._step()

    def _step(self) -> None:
        share = self._share()
        for draw in self._drawn:
            draw(share)

    def _share(self) -> float:
        """Power of what it is at the highest clocks under load."""
        speeds = list(speeds_of(self._kernel).values())
        processors = [p.cur_khz() / p.cpuinfo_max_khz for p in self._policies if p.online]
        busy = sum(processors) / len(processors) if self.is_loaded else 0.0
        return 0.4 + 0.2 * sum(speeds) / len(speeds) + 0.4 * busy


def speeds_of(kernel: FakeKernel) -> Mapping[str, float]:
    """Each clock of a fake board as a part of its highest, by the name of its device."""
    speeds = {}
    for name, device in kernel.devices.items():
        if isinstance(device, CpufreqPolicy) and device.online:
            speeds[name] = device.cur_khz() / device.cpuinfo_max_khz
        elif isinstance(device, DevfreqDevice):
            speeds[name] = device.cur_hz() / device.table_hz[-1]
        elif isinstance(device, Emc):
            speeds[name] = device.rate_hz() / device.table_hz[-1]
    return speeds


def _draw(device: object) -> Callable[[float], None] | None:
    """What sets the power of a sensor, for a part of its power at first."""
    if isinstance(device, Rail | RaplZone | Battery):
        full_w = device.watts

        def draw(share: float) -> None:
            device.watts = full_w * share

        return draw
    if isinstance(device, Pmic):
        full_a = {name: amperes for name, (_, amperes) in device.rails.items()}

        def draw_pmic(share: float) -> None:
            for name, rail in device.rails.items():
                rail[1] = full_a[name] * share

        return draw_pmic
    return None

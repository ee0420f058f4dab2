"""Recorded zones whose temperature can be set, and that cool what they are bound to."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from tests.hw.fake.attribute import Computed
from tests.hw.fake.cpufreq import CpufreqPolicy
from tests.hw.fake.devfreq import DevfreqDevice
from tests.hw.fake.kernel import FakeKernel

CLASS = "sys/class/thermal"


class ReplayedZone:
    """A recorded zone.

    Args:
        kernel: gets its temperature, and this as a device by its type.
        folder: of the zone.
        coolers: what sets the state of each cooling device, by its real folder.
    """

    def __init__(
        self, kernel: FakeKernel, folder: str, coolers: dict[str, Callable[[int], None]]
    ) -> None:
        self._kernel = kernel
        self._folder = folder
        self._coolers = coolers
        self.temp_c = int(kernel.read(f"{folder}/temp")) / 1000
        real = kernel.real_path(f"{folder}/temp")
        kernel.add({real: Computed(lambda: round(self.temp_c * 1000))})
        kernel.devices[kernel.read(f"{folder}/type").strip()] = self

    def heat_to(self, temp_c: float) -> None:
        """Change the temperature; what a passed trip is bound to cools to its last state."""
        self.temp_c = temp_c
        for binding in self._kernel.glob(f"{self._folder}/cdev*_trip_point"):
            number = int(self._kernel.read(binding))
            trip = f"{self._folder}/trip_point_{number}_temp"
            device = self._kernel.real_path(binding.removesuffix("_trip_point"))
            if number >= 0 and device in self._coolers:
                hot = temp_c * 1000 >= int(self._kernel.read(trip))
                last = int(self._kernel.read(f"{device}/max_state"))
                self._coolers[device](last if hot else 0)


def add_zones(kernel: FakeKernel) -> None:
    """Bring all recorded zones with a temperature to life."""
    coolers = _coolers(kernel)
    for folder in kernel.glob(f"{CLASS}/thermal_zone*"):
        real = kernel.real_path(f"{folder}/temp")
        if kernel.exists(real) and real not in kernel.fails:
            ReplayedZone(kernel, folder, coolers)


def _coolers(kernel: FakeKernel) -> dict[str, Callable[[int], None]]:
    """The cooling devices whose type tells what they slow down."""
    policies = [d for d in kernel.devices.values() if isinstance(d, CpufreqPolicy)]
    devices = [d for d in kernel.devices.values() if isinstance(d, DevfreqDevice)]
    n_seen = 0
    coolers = {}
    for folder in sorted(kernel.glob(f"{CLASS}/cooling_device*"), key=lambda f: (len(f), f)):
        real = posixpath.dirname(kernel.real_path(f"{folder}/type"))
        kind = kernel.read(f"{folder}/type").strip()
        slowed = [p for p in policies if kind == f"cpufreq-cpu{p.cpus[0]}"]
        slowed += [d for d in devices if kind == f"devfreq-{d.name}"]
        if not slowed and kind.startswith(("thermal-cpufreq", "Processor")):
            slowed = policies[n_seen : n_seen + 1]  # numbered as the policies are
            n_seen += 1
        if slowed:
            coolers[real] = _cooler(kernel, real, slowed[0])
    return coolers


def _cooler(
    kernel: FakeKernel, folder: str, slowed: CpufreqPolicy | DevfreqDevice
) -> Callable[[int], None]:
    def cool(state: int) -> None:
        kernel.set(f"{folder}/cur_state", state)
        is_processor = isinstance(slowed, CpufreqPolicy)
        caps = slowed.caps_khz if is_processor else slowed.caps_hz
        lowest = slowed.cpuinfo_min_khz if is_processor else slowed.table_hz[0]
        caps.pop("thermal", None)
        if state:
            caps["thermal"] = lowest

    return cool

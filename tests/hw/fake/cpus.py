"""CPUs that can go offline (Documentation/core-api/cpu_hotplug.rst)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from tests.hw.fake.attribute import Computed, strict_number
from tests.hw.fake.kernel import FakeKernel

CPU = "sys/devices/system/cpu"


class Cpus:
    """All CPUs of a machine; CPU 0 has no `online` file.

    Args:
        kernel: gets the attributes, and this as device "cpus".
        count: CPUs, all online.
    """

    def __init__(self, kernel: FakeKernel, count: int) -> None:
        self._kernel = kernel
        self.online = set(range(count))
        everyone = range(count)
        kernel.devices["cpus"] = self
        kernel.add(
            {
                "online": Computed(lambda: cpu_list(self.online)),
                "offline": Computed(lambda: cpu_list(set(everyone) - self.online)),
                "possible": cpu_list(everyone),
                "present": cpu_list(everyone),
            },
            CPU,
        )
        for cpu in everyone[1:]:
            kernel.add({f"{CPU}/cpu{cpu}/online": self._switch(cpu)})

    def _switch(self, cpu: int) -> Computed:
        def store(value: str) -> None:
            if strict_number(value):
                self.online.add(cpu)
            elif len(self.online) == 1:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            else:
                self.online.discard(cpu)
            for device in list(self._kernel.devices.values()):
                if hasattr(device, "processors_changed"):
                    device.processors_changed()

        return Computed(lambda: int(cpu in self.online), store)


def cpu_list(cpus: Iterable[int]) -> str:
    """CPU numbers as the kernel prints masks: "0-3,6"."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)

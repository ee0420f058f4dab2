"""Thermal zones and the cooling devices that cap clocks (drivers/thermal)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.hw.fake.attribute import Computed, Stored, invalid, strict_number
from tests.hw.fake.cpufreq import CpufreqPolicy
from tests.hw.fake.devfreq import DevfreqDevice
from tests.hw.fake.kernel import FakeKernel

CLASS = "sys/class/thermal"
DEVICES = "sys/devices/virtual/thermal"
_PROCESSOR_STEP_PERCENT = 20  # drivers/acpi/processor_thermal.c
_PROCESSOR_STATES = 3


class CoolingDevice:
    """Something that can be slowed down, from state 0 to the last one.

    Args:
        kernel: gets the attributes, and this as device "cooling_device<n>".
        kind: its type.
        last_state: the strongest.
        apply: is told each new state.
    """

    def __init__(
        self, kernel: FakeKernel, kind: str, last_state: int, apply: Callable[[int], None]
    ) -> None:
        self.state = 0
        self.last_state = last_state
        self._apply = apply
        self.name = f"cooling_device{_count(kernel, 'cooling_device')}"
        self.folder = f"{DEVICES}/{self.name}"
        kernel.devices[self.name] = self
        kernel.add(
            {
                "type": kind,
                "max_state": last_state,
                "cur_state": Computed(lambda: self.state, self._store),
            },
            self.folder,
        )
        kernel.link(f"{CLASS}/{self.name}", self.folder)

    def cool(self, state: int) -> None:
        """Set the state."""
        self.state = state
        self._apply(state)

    def _store(self, value: str) -> None:
        state = strict_number(value)
        if state > self.last_state:
            raise invalid()
        self.cool(state)


def cool_cpufreq(kernel: FakeKernel, policy: CpufreqPolicy) -> CoolingDevice:
    """Cooling by a policy: each state takes away the highest operating point left."""
    table_khz = policy.table_khz or (policy.cpuinfo_max_khz,)

    def apply(state: int) -> None:
        _cap(policy.caps_khz, "thermal", table_khz[-1 - state] if state else None)

    kind = f"thermal-cpufreq-{_count(kernel, 'cooling_device')}"
    if not kernel.is_old:
        kind = f"cpufreq-cpu{policy.cpus[0]}"
    return CoolingDevice(kernel, kind, len(table_khz) - 1, apply)


def cool_devfreq(
    kernel: FakeKernel, device: DevfreqDevice, *, is_numbered: bool = False
) -> CoolingDevice:
    """Cooling by a devfreq device; vendors' kernels number them, as all did before Linux 5.12."""

    def apply(state: int) -> None:
        _cap(device.caps_hz, "thermal", device.table_hz[-1 - state] if state else None)

    kind = f"thermal-devfreq-{_count(kernel, 'cooling_device')}"
    if not kernel.is_old and not is_numbered:
        kind = f"devfreq-{device.name}"
    return CoolingDevice(kernel, kind, len(device.table_hz) - 1, apply)


def cool_processor(kernel: FakeKernel, policy: CpufreqPolicy) -> CoolingDevice:
    """ACPI's "Processor": each state takes a fifth of the highest clock."""

    def apply(state: int) -> None:
        left_percent = 100 - _PROCESSOR_STEP_PERCENT * state
        cap_khz = policy.cpuinfo_max_khz * left_percent // 100
        _cap(policy.caps_khz, "thermal", cap_khz if state else None)

    return CoolingDevice(kernel, "Processor", _PROCESSOR_STATES, apply)


class ThermalZone:
    """A temperature with trip points.

    Args:
        kernel: gets the attributes, and this as a device by its type.
        kind: its type.
        temp_c: at first.
        trips: type ("passive", "active", "hot", "critical") and temperature, degrees C.
        cooling: what its first passive trip slows down, a state per degree above it.
        bound: further devices, each with the number of its trip.
    """

    def __init__(
        self,
        kernel: FakeKernel,
        kind: str,
        temp_c: float = 45.0,
        trips: Sequence[tuple[str, float]] = (),
        cooling: Sequence[CoolingDevice] = (),
        bound: Sequence[tuple[int, CoolingDevice]] = (),
    ) -> None:
        self.name = kind
        self.temp_c = temp_c
        passive = [number for number, (trip, _) in enumerate(trips) if trip == "passive"]
        first = passive[0] if passive else -1
        self._bound = [*((first, device) for device in cooling), *bound]
        self._trips_c = [trip_c for _, trip_c in trips]
        name = f"thermal_zone{_count(kernel, 'thermal_zone')}"
        self.folder = f"{DEVICES}/{name}"
        kernel.devices[kind] = self
        kernel.add(
            {
                "type": kind,
                "temp": Computed(lambda: round(self.temp_c * 1000)),
                "mode": Stored("enabled", ("enabled", "disabled")),
                "policy": Stored("step_wise", ("step_wise", "user_space", "power_allocator")),
            },
            self.folder,
        )
        for number, (trip, limit_c) in enumerate(trips):
            point = f"{self.folder}/trip_point_{number}"
            kernel.add(
                {f"{point}_type": trip, f"{point}_temp": round(limit_c * 1000), f"{point}_hyst": 0}
            )
        for number, (trip, device) in enumerate(self._bound):
            kernel.link(f"{self.folder}/cdev{number}", device.folder)
            kernel.add({f"cdev{number}_trip_point": trip}, self.folder)
        kernel.link(f"{CLASS}/{name}", self.folder)

    def heat_to(self, temp_c: float) -> None:
        """Change the temperature; cooling follows at once (a settled step_wise)."""
        self.temp_c = temp_c
        for trip, device in self._bound:
            over_c = temp_c - self._trips_c[trip] if trip >= 0 else -1.0
            device.cool(min(int(over_c) + 1, device.last_state) if over_c >= 0 else 0)


def _count(kernel: FakeKernel, name: str) -> int:
    return len(kernel.glob(f"{DEVICES}/{name}*"))


def _cap(caps: dict[str, int], name: str, value: int | None) -> None:
    caps.pop(name, None)
    if value is not None:
        caps[name] = value

"""A real machine taken for a device that there is a model of, so that its policies can drive it.

Policies speak of one clock for all processors, one for the GPU and one for the memory, and of the
operating points in the device's file. A machine may have a clock for each cluster of processors,
and a release of its software points of its own: each clock of the device stands for all of that
kind here, the highest operating point for the highest, and any other for the nearest.
"""

from __future__ import annotations

from collections.abc import Sequence

from hw.base import Applied, Board, EnergyReading, FrequencyDomain
from hw.device import DeviceModel
from hw.errors import UnsupportedError
from hw.likeness import clocks_of

SAME_POINT = 0.02
"""Two clocks that differ by less are the same operating point."""


class TakenAs(Board):
    """A machine that is driven, and reports, in terms of a device.

    Args:
        machine: not yet open; closed with this board.
        device: what it is taken for.
    """

    device: DeviceModel

    def __init__(self, machine: Board, device: DeviceModel) -> None:
        super().__init__()
        self.name, self.modelled = machine.name, machine.modelled
        self.device, self.dry_run = device, machine.dry_run
        self.domains, self.power_sensors, self.thermal_zones = {}, {}, {}
        self._machine = machine

    @property
    def temperature_limit_c(self) -> float:
        """The machine's, degrees C."""
        return self._machine.temperature_limit_c

    def temperature_c(self) -> float:
        """The machine's, degrees C."""
        return self._machine.temperature_c()

    @property
    def shortest_window_s(self) -> float:
        """Shortest energy window that the machine's sensors resolve, s."""
        return self._machine.shortest_window_s

    def begin_window(self) -> None:
        """Start measuring energy."""
        self._machine.begin_window()

    def end_window(self) -> EnergyReading:
        """Stop measuring energy."""
        return self._machine.end_window()

    def _acquire(self) -> None:
        self._machine.open()
        try:
            found = clocks_of(self.device, tuple(self._machine.domains.values()))
        except UnsupportedError:
            self._machine.close()
            raise
        self.domains = {
            kind: _Kind(kind, self.device.domains[kind].available_hz, members)
            for kind, members in found.items()
        }
        self.power_sensors = self._machine.power_sensors
        self.thermal_zones = self._machine.thermal_zones
        self.guard = self._machine.guard

    def _release(self) -> None:
        self._machine.close()


class _Kind:
    """One clock of the device: all of its kind on the machine.

    What is read is the lowest of them, for the slowest makes the others wait.
    """

    def __init__(
        self, name: str, available_hz: tuple[int, ...], members: Sequence[FrequencyDomain]
    ) -> None:
        self.name = name
        self.available_hz = available_hz
        self._members = members

    def read_hz(self) -> int:
        """Read the lowest clock in force, Hz."""
        return self._mine(min(member.read_hz() for member in self._members))

    def request(self, freq_hz: int) -> Applied:
        """Ask all for the operating point nearest to that of the device."""
        wanted_hz = min(self.available_hz, key=lambda hz: abs(hz - freq_hz))
        is_top = wanted_hz == self.available_hz[-1]
        found = [m.request(m.available_hz[-1] if is_top else wanted_hz) for m in self._members]
        return self._worst(wanted_hz, found)

    def verify(self) -> Applied | None:
        """Compare the last request with what is in force now; None if there was none."""
        found = [applied for m in self._members if (applied := m.verify()) is not None]
        return self._worst(self._mine(found[0].requested_hz), found) if found else None

    def _worst(self, wanted_hz: int, found: Sequence[Applied]) -> Applied:
        """The clock that somebody else holds, or else the lowest."""
        one = min(found, key=lambda applied: (applied.cause is None, applied.applied_hz))
        return Applied(wanted_hz, self._mine(one.applied_hz), one.cause)

    def _mine(self, hz: int) -> int:
        """A clock of the machine as the device's operating point, where there is such a one."""
        nearest_hz = min(self.available_hz, key=lambda point: abs(point - hz))
        is_same = abs(nearest_hz - hz) <= SAME_POINT * nearest_hz or hz > self.available_hz[-1]
        return nearest_hz if is_same else hz

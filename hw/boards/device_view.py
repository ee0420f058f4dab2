"""Adapter that shows a real machine as a modelled device, so that its policies can drive it.

Policies speak of one clock for all processors, one for the GPU and one for the memory, and of the
operating points in the device's file. A machine may have a clock for each cluster of processors,
and a release of its software points of its own: each clock of the device stands for all of that
kind here, the highest operating point for the highest, and any other for the nearest that is not
above it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from hw.base import Applied, Board, Cause, EnergyReading, FrequencyDomain
from hw.device.match import match_domains, of_kind
from hw.device.model import DeviceModel

SAME_POINT = 0.005
"""Two clocks that differ by less are the same operating point."""


class DeviceView(Board):
    """A machine that is driven, and reports, in terms of a device.

    Args:
        machine: not yet open; closed with this board.
        device: what it is taken for.
    """

    device: DeviceModel
    domains: dict[str, _MergedDomain]

    def __init__(self, machine: Board, device: DeviceModel) -> None:
        super().__init__()
        self.name, self.modelled = machine.name, machine.modelled
        self.device, self.dry_run = device, machine.dry_run
        self.lacks_radio, self.prepares_inputs = machine.lacks_radio, machine.prepares_inputs
        self.domains, self.power_sensors, self.thermal_zones = {}, {}, {}
        self._machine = machine

    @property
    def temperature_limit_c(self) -> float:
        """The machine's, degrees C."""
        return self._machine.temperature_limit_c

    def temperature_c(self) -> float:
        """The machine's, degrees C."""
        return self._machine.temperature_c()

    def margin_c(self) -> float:
        """The machine's, degrees C."""
        return self._machine.margin_c()

    @property
    def shortest_window_s(self) -> float:
        """Shortest energy window that the machine's sensors resolve, s."""
        return self._machine.shortest_window_s

    def seen(self, name: str, applied: Applied) -> Applied:
        """What the machine knows of its clocks."""
        return self._machine.seen(name, applied)

    @contextmanager
    def clocks_given_back(self) -> Iterator[None]:
        """Leave the machine's clocks to it within."""
        with self._machine.clocks_given_back(), super().clocks_given_back():
            yield

    def _give_clocks_back(self) -> None:
        """Nothing is left to do: the machine has them."""

    def begin_window(self) -> None:
        """Start measuring energy."""
        self._machine.begin_window()

    def end_window(self) -> EnergyReading:
        """Stop measuring energy."""
        return self._machine.end_window()

    def pace(
        self, flops: float, traffic_bytes: float, kernels: float
    ) -> AbstractContextManager[object]:
        """Run a piece of a network as fast as the machine does."""
        return self._machine.pace(flops, traffic_bytes, kernels)

    def host(self) -> AbstractContextManager[object]:
        """Run work of the processor as fast as the machine does."""
        return self._machine.host()

    @property
    def too_slow_share(self) -> float:
        """Share of the work that took longer than on an emulated machine."""
        return self._machine.too_slow_share

    def set_ambient(self, ambient_c: float) -> None:
        """Set the temperature around an emulated machine, degrees C."""
        self._machine.set_ambient(ambient_c)

    def look_again(self) -> None:
        """Let clocks that came since the board was opened stand for the device's, too."""
        self._machine.look_again()
        for kind, domain in self.domains.items():
            domain.members = of_kind(kind, self._machine.domains.values())

    def _acquire(self) -> None:
        try:
            self._machine.open()
            found = match_domains(self.device, tuple(self._machine.domains.values()))
        except BaseException:
            self._machine.close()
            raise
        self.domains = {
            kind: _MergedDomain(kind, self.device.domains[kind].available_hz, members)
            for kind, members in found.items()
        }
        self.power_sensors = self._machine.power_sensors
        self.thermal_zones = self._machine.thermal_zones
        self.guard = self._machine.guard

    def _release(self) -> None:
        self._machine.close()


class _MergedDomain:
    """One clock of the device: all of its kind on the machine.

    A member that gave what was asked of it, or its highest point where that is lower, is as the
    device's operating point; what is read is the lowest of them, for the slowest makes the others
    wait. No request waits for an offline processor.

    Attributes:
        members: the machine's clocks of this kind; more when processors come online.
    """

    def __init__(
        self, name: str, available_hz: tuple[int, ...], members: Sequence[FrequencyDomain]
    ) -> None:
        self.name = name
        self.available_hz = available_hz
        self.members = members
        self._wanted_hz: int | None = None

    def read_hz(self) -> int:
        """Read the lowest clock in force, Hz; 0 while all processors are offline."""
        found = [(member, hz) for member in self.members if (hz := member.read_hz())]
        return min((self._mine(member, hz) for member, hz in found), default=0)

    def request(self, freq_hz: int) -> Applied:
        """Ask all for the device's operating point at a frequency, or the next lower one."""
        self._wanted_hz = wanted_hz = _at_most(freq_hz, self.available_hz)
        found = [(member, member.request(self._target(member))) for member in self.members]
        return self._worst(wanted_hz, found)

    def verify(self) -> Applied | None:
        """Compare the last request with what is in force now; None if there was none."""
        found = [(m, applied) for m in self.members if (applied := m.verify()) is not None]
        if self._wanted_hz is None or not found:
            return None
        return self._worst(self._wanted_hz, found)

    def _target(self, member: FrequencyDomain) -> int:
        """What is asked of a member; the highest point of the device is that of the machine."""
        if self._wanted_hz is None or self._wanted_hz == self.available_hz[-1]:
            return member.available_hz[-1]
        return _at_most(self._wanted_hz, member.available_hz)

    def _worst(self, wanted_hz: int, found: Sequence[tuple[FrequencyDomain, Applied]]) -> Applied:
        """The clock that another program holds, or else the lowest."""
        online = [pair for pair in found if pair[1].cause is not Cause.OFFLINE] or found
        mine = [(self._mine(member, one.applied_hz), one.cause) for member, one in online]
        applied_hz, cause = min(mine, key=lambda one: (one[1] is None, one[0]))
        return Applied(wanted_hz, applied_hz, cause)

    def _mine(self, member: FrequencyDomain, hz: int) -> int:
        """A clock of a member in terms of the device; never more than it is."""
        if self._wanted_hz is not None and hz == self._target(member):
            return self._wanted_hz
        if hz >= member.available_hz[-1]:
            return self.available_hz[-1]
        below_top = [point for point in self.available_hz if point < self.available_hz[-1]]
        if hz >= self.available_hz[-1] and below_top:
            return below_top[-1]
        nearest_hz = min(self.available_hz, key=lambda point: abs(point - hz))
        return nearest_hz if abs(nearest_hz - hz) <= SAME_POINT * nearest_hz else hz


def _at_most(freq_hz: int, available_hz: Sequence[int]) -> int:
    """The highest operating point that is not above a frequency; the lowest if all are."""
    limit_hz = (1.0 + SAME_POINT) * freq_hz
    return max((hz for hz in available_hz if hz <= limit_hz), default=available_hz[0])

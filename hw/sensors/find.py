"""Discovery of all power that a machine measures."""

from __future__ import annotations

import importlib.util
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from common import extras
from hw.base import EnergyCounter, PowerSensor
from hw.errors import HardwareError
from hw.left_out import Search
from hw.nvidia.card import NvmlCard
from hw.nvidia.nvml import NvmlCounter, NvmlPower
from hw.sensors.battery import battery_sensors
from hw.sensors.energy_meter import POLLED
from hw.sensors.hwmon import hwmon_sensors
from hw.sensors.iio import iio_sensors
from hw.sensors.jtop import JtopClient, jtop_sensors
from hw.sensors.pmic import pmic_sensors
from hw.sensors.rapl import rapl_counters
from hw.sensors.total import Total, total_of
from hw.sysfs import Sysfs

JTOP_SOCKET = "run/jtop.sock"


class _Nameable(PowerSensor, Protocol):
    """A sensor that can be renamed."""

    name: str


@dataclass(slots=True)
class PowerSources:
    """All power that a machine measures.

    Attributes:
        sensors: rails whose power is read, by name.
        counters: rails whose energy is counted, by name.
        search: what of them cannot be read.
        jtop: the client of jetson-stats, if it was needed.
    """

    sensors: dict[str, PowerSensor] = field(default_factory=dict)
    counters: dict[str, EnergyCounter] = field(default_factory=dict)
    search: Search = field(default_factory=Search)
    jtop: JtopClient | None = None

    @property
    def unread(self) -> list[str]:
        """What cannot be read, in words with the remedy."""
        return self.search.unread

    @property
    def total(self) -> Total:
        """The rails that together are what the board draws.

        Where one of them cannot be read, or may be one of them, there is none: the others would be
        taken for the whole.
        """
        total = total_of((*self.sensors, *self.counters, *self.search.silent))
        missing = [rail for rail in total.rails if rail in self.search.silent]
        if not total.is_closed:
            missing += self.search.nameless
        if missing:
            return Total((), f"nothing, for {', '.join(missing)} cannot be read")
        return total

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Keep what went wrong in words, and go on."""
        try:
            yield
        except HardwareError as error:
            self.unread.append(str(error))

    def answers(self, name: str, read: Callable[[], float]) -> bool:
        """Whether a rail can be read; reports why where it cannot."""
        with self.search.leaving_out(silent=name):
            self.search.ask(read)
            return True
        return False

    def close(self) -> None:
        """End what was started to read them."""
        if self.jtop is not None:
            self.jtop.close()
            self.jtop = None


def find_power(
    sysfs: Sysfs,
    cards: Sequence[NvmlCard] = (),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> PowerSources:
    """Find all power sensors and energy counters; what cannot be read is left out and reported.

    Args:
        sysfs: access to the kernel's files.
        cards: NVIDIA cards.
        clock: present time, s.
        sleep: waits for a number of seconds.
    """
    found = PowerSources(search=Search(sleep=sleep))
    sensors: list[_Nameable] = []
    for finder in (hwmon_sensors, iio_sensors, pmic_sensors, battery_sensors):
        with found.telling():
            sensors += finder(sysfs, found.search)
    with found.telling():
        counters = rapl_counters(sysfs, found.search, clock)
        found.counters = {counter.name: counter for counter in counters}
    for card in cards:
        counted = card.offers("nvmlDeviceGetTotalEnergyConsumption")
        if counted:
            found.counters[card.name] = NvmlCounter(card)
        if card.offers("nvmlDeviceGetPowerUsage"):
            sensors.append(NvmlPower(card, card.name + POLLED if counted else card.name))
    named, zones = _by_name(sensors), found.counters
    found.sensors = {n: s for n, s in named.items() if found.answers(n, s.read_w)}
    found.counters = {n: c for n, c in zones.items() if found.answers(n, c.read_j)}
    is_silent = not found.sensors and not found.counters
    if is_silent and sysfs.is_live and sysfs.exists(sysfs.path(JTOP_SOCKET)):
        _ask_jtop(found)
    return found


def _by_name(sensors: Sequence[_Nameable]) -> dict[str, PowerSensor]:
    """Rails by name; those that share a label are numbered."""
    twice = {name for name, count in Counter(s.name for s in sensors).items() if count > 1}
    seen: Counter[str] = Counter()
    named: dict[str, PowerSensor] = {}
    for sensor in sensors:
        if sensor.name in twice:
            seen[sensor.name] += 1
            sensor.name = f"{sensor.name}#{seen[sensor.name]}"
        named[sensor.name] = sensor
    return named


def _ask_jtop(found: PowerSources) -> None:
    if importlib.util.find_spec("jtop") is None:
        found.unread.append(
            f"jtop's service runs, which may know the power, but not its client; "
            f"{extras.install('jetson')} brings it"
        )
        return
    found.jtop = JtopClient()
    with found.telling():
        found.sensors = {sensor.name: sensor for sensor in jtop_sensors(found.jtop)}
    if not found.sensors:
        found.close()

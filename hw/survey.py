"""What a machine offers to somebody who wants to drive it, found without changing anything."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hw.base import Hold, PowerSensor
from hw.clocks.context import ClockContext
from hw.clocks.find import KernelDomain, find_domains
from hw.clocks.limits_domain import LimitsDomain
from hw.clocks.together import TogetherDomain
from hw.cooling import CoolingDevices
from hw.energy import READINGS_PER_WINDOW
from hw.errors import HardwareError, PermissionDeniedError
from hw.nvml import NvmlCard, NvmlDomain, NvmlZone, nvml_cards, nvml_domains, nvml_zones
from hw.power_mode import PowerModes
from hw.rivals import JETSON_CLOCKS, Rival, find_rivals
from hw.sensors.find import PowerSources, find_power
from hw.sensors.rapl import ZONES as COUNTERS
from hw.sensors.thermal import SysfsThermalZone, machine_title, thermal_zones
from hw.session.dry_run import DryRunChanges
from hw.session.journal import Journal
from hw.sysfs import Sysfs
from hw.throttle import throttle_reasons

COMPATIBLE = "proc/device-tree/compatible"
TEGRA = "etc/nv_tegra_release"
"""Only Jetson boards have it."""


@dataclass(frozen=True, slots=True)
class ClockSurvey:
    """A clock; frequencies in Hz.

    Attributes:
        name: of the domain.
        available_hz: operating points.
        now_hz: clock in force; None if this user cannot read it.
        limits_hz: lower and upper limit in force, where the kernel has such.
        governor: in charge.
        holds: how it can be held, "cap", "pin" or both.
        denied: files that this user would have to write but may not.
    """

    name: str
    available_hz: tuple[int, ...]
    now_hz: int | None
    limits_hz: tuple[int, int] | None
    governor: str | None
    holds: tuple[str, ...]
    denied: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RailSurvey:
    """A power rail.

    Attributes:
        name: of the rail.
        power_w: now; None for a counter, and where the reading failed.
        step_w: smallest difference that it shows; None for a counter.
        period_s: time between two new readings.
        in_total: whether it is part of what the board draws.
        problem: why the reading failed.
    """

    name: str
    power_w: float | None
    step_w: float | None
    period_s: float
    in_total: bool
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ZoneSurvey:
    """A temperature.

    Attributes:
        name: of the zone.
        temperature_c: now.
        limit_c: where the machine slows down or stops; None if it is not told.
    """

    name: str
    temperature_c: float
    limit_c: float | None


@dataclass(frozen=True, slots=True)
class Survey:
    """A whole machine.

    Attributes:
        machine: name that its firmware tells.
        boards: what its device tree says it is compatible with; empty without one, as on PCs.
        kernel: release of the kernel.
        power_mode: of nvpmodel; None without it.
        clocks: that can be set.
        rails: that are measured.
        total: what the rails marked `in_total` are together.
        shortest_window_s: shortest energy window that they resolve; None without rails.
        zones: temperatures.
        throttled: why clocks are or were held down.
        rivals: programs that set clocks too.
        unread: what power cannot be read, in words with the remedy.
        closed: files of energy counters that this user may not read.
        unseen: clocks that such a machine has and this user does not see, in words.
        driver: the process that drives the machine now; None if none does.
        left_behind: settings that a killed process left changed.
    """

    machine: str
    boards: tuple[str, ...]
    kernel: str
    power_mode: str | None
    clocks: tuple[ClockSurvey, ...]
    rails: tuple[RailSurvey, ...]
    total: str
    shortest_window_s: float | None
    zones: tuple[ZoneSurvey, ...]
    throttled: tuple[str, ...]
    rivals: tuple[Rival, ...]
    unread: tuple[str, ...]
    closed: tuple[str, ...]
    unseen: tuple[str, ...]
    driver: str | None
    left_behind: int


def survey(sysfs: Sysfs) -> Survey:
    """Look at everything.

    Raises:
        HardwareError: something that is there could not be read.
    """
    cards = nvml_cards() if sysfs.is_live else []
    power = find_power(sysfs, cards)
    try:
        return _survey(sysfs, cards, power)
    finally:
        power.close()


def _survey(sysfs: Sysfs, cards: Sequence[NvmlCard], power: PowerSources) -> Survey:
    total = power.total
    rails = tuple(_rails(power.sensors, total.rails)) + tuple(
        RailSurvey(c.name, None, None, c.period_s, c.name in total.rails)
        for c in power.counters.values()
    )
    periods_s = [rail.period_s for rail in rails if rail.in_total]
    zones: dict[str, SysfsThermalZone | NvmlZone] = {**thermal_zones(sysfs), **nvml_zones(cards)}
    clocks = _clocks(sysfs, cards)
    driver = Journal.of_machine(sysfs).holder()
    return Survey(
        machine=machine_title(sysfs),
        boards=tuple(filter(None, (_text(sysfs, COMPATIBLE) or "").split("\0"))),
        kernel=_text(sysfs, "proc/sys/kernel/osrelease") or "unknown",
        power_mode=PowerModes(sysfs).title(),
        clocks=tuple(clocks),
        rails=rails,
        total=total.statement,
        shortest_window_s=READINGS_PER_WINDOW * max(periods_s) if periods_s else None,
        zones=tuple(ZoneSurvey(zone.name, zone.read_c(), zone.limit_c) for zone in zones.values()),
        throttled=tuple(throttle_reasons(sysfs, cards)),
        rivals=tuple(r for r in find_rivals(sysfs) if driver is None or r != JETSON_CLOCKS),
        unread=tuple(power.unread),
        closed=tuple(_closed(sysfs)),
        unseen=tuple(_unseen(sysfs, clocks)),
        driver=driver,
        left_behind=0 if driver else _left_behind(sysfs),
    )


def _clocks(sysfs: Sysfs, cards: Sequence[NvmlCard]) -> list[ClockSurvey]:
    """Every clock once, with all the ways in which it can be held."""
    by_hold: dict[Hold, dict[str, KernelDomain]] = {}
    for hold in (Hold.CAP, Hold.PIN):
        context = _context(sysfs, hold)
        by_hold[hold] = find_domains(context)
        for card in cards:
            by_hold[hold].update(nvml_domains(card, context.changes, hold))
    found = {**by_hold[Hold.PIN], **by_hold[Hold.CAP]}  # capping is the default
    return [
        _clock(sysfs, domain, tuple(h.value for h in by_hold if domain.name in by_hold[h]))
        for domain in found.values()
    ]


def _clock(sysfs: Sysfs, domain: KernelDomain, holds: tuple[str, ...]) -> ClockSurvey:
    limits_hz = governor = None
    first = domain.members[0] if isinstance(domain, TogetherDomain) else domain
    if isinstance(first, LimitsDomain):
        limits_hz = first.read_limits_hz()
        governor = _text(sysfs, str(first.files.governor.relative_to(sysfs.root)))
    elif isinstance(first, NvmlDomain):
        governor = "NVML, if asked"  # LinuxBoard's lock_nvidia
    try:
        now_hz = domain.read_hz()
    except HardwareError:
        now_hz = None
    denied = tuple(str(f) for f in domain.written_files if not sysfs.is_writable(f))
    return ClockSurvey(domain.name, domain.available_hz, now_hz, limits_hz, governor, holds, denied)


def _context(sysfs: Sysfs, hold: Hold) -> ClockContext:
    cooling, modes = CoolingDevices(sysfs), PowerModes(sysfs)
    return ClockContext(sysfs, DryRunChanges(), hold, cooling, modes, time.monotonic, time.sleep)


def _rails(sensors: Mapping[str, PowerSensor], total: Sequence[str]) -> list[RailSurvey]:
    rails = []
    for name, sensor in sensors.items():
        power_w, problem = None, None
        try:
            power_w = sensor.read_w()
        except HardwareError as error:
            problem = str(error)
        in_total = name in total
        rails.append(RailSurvey(name, power_w, sensor.step_w, sensor.period_s, in_total, problem))
    return rails


def _closed(sysfs: Sysfs) -> Iterator[str]:
    for file in sysfs.glob(f"{COUNTERS}/energy_uj"):
        try:
            sysfs.read_text(file)
        except PermissionDeniedError:
            yield str(file)
        except HardwareError:
            continue


def _unseen(sysfs: Sysfs, clocks: Sequence[ClockSurvey]) -> Iterator[str]:
    if sysfs.exists(sysfs.path(TEGRA)) and all(clock.name != "emc" for clock in clocks):
        yield (
            "the memory clock does not show: its files below /sys/kernel/debug are root's; "
            "look again with sudo"
        )


def _left_behind(sysfs: Sysfs) -> int:
    try:
        return len(Journal.of_machine(sysfs).read().entries)
    except HardwareError:  # not readable for this user
        return 0


def _text(sysfs: Sysfs, name: str) -> str | None:
    path = sysfs.path(name)
    return sysfs.read_text(path) if sysfs.exists(path) else None

"""Survey of a machine for those who want to drive it, found without changing anything."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from hw.base import Hold, PowerSensor
from hw.boards.conflicts import JETSON_CLOCKS, ConflictingProgram, find_conflicts
from hw.clocks.context import ClockContext
from hw.clocks.find import KernelDomain, find_domains
from hw.clocks.limits_domain import LimitsDomain
from hw.clocks.together import TogetherDomain
from hw.device.match import devices_like
from hw.device.model import DeviceModel
from hw.doctor.systems import TEGRA, SystemSurvey, survey_system
from hw.doctor.throttle import throttle_reasons
from hw.errors import HardwareError, PermissionDeniedError
from hw.left_out import Search
from hw.nvidia.card import NvmlCard, nvml_cards
from hw.nvidia.nvml import NvmlDomain, NvmlZone, nvml_domains, nvml_zones
from hw.sensors.energy_meter import READINGS_PER_WINDOW
from hw.sensors.find import PowerSources, find_power
from hw.sensors.hwmon import HwmonPower, Ina3221Power
from hw.sensors.rapl import ZONES as COUNTERS
from hw.session.dry_run import DryRunChanges
from hw.session.journal import Journal
from hw.settings.power_mode import PowerModes
from hw.sysfs import Sysfs
from hw.thermal.cooling import CoolingDevices
from hw.thermal.zones import SysfsThermalZone, all_zones, machine_title

COMPATIBLE = "proc/device-tree/compatible"
DOUBTFUL = 2.0
"""Share of a device model's largest power from which on a total is doubted; boards that are taken
for one differ by less."""


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
        shunt_ohm: resistor by which its driver computes; None where it is not reported.
        shunt_is_default: whether the driver assumed it, as of a board that does not report it.
        problem: why the reading failed.
    """

    name: str
    power_w: float | None
    step_w: float | None
    period_s: float
    in_total: bool
    shunt_ohm: float | None = None
    shunt_is_default: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ZoneSurvey:
    """A temperature.

    Attributes:
        name: of the zone.
        temperature_c: now.
        limit_c: where the machine slows down or stops; None if it is not reported.
    """

    name: str
    temperature_c: float
    limit_c: float | None


@dataclass(frozen=True, slots=True)
class Survey:
    """A whole machine.

    Attributes:
        machine: name that its firmware reports.
        boards: what its device tree says it is compatible with; empty without one, as on PCs.
        kernel: release of the kernel.
        power_mode: of nvpmodel; None without it.
        system: its software, and the row of the table of systems that it is.
        clocks: that can be set.
        rails: that are measured.
        total: what the rails marked `in_total` are together.
        shortest_window_s: shortest energy window that they resolve; None without rails.
        zones: temperatures.
        throttled: why clocks are or were held down.
        rivals: programs that set clocks too.
        unread: what power cannot be read, in words with the remedy.
        left_out: clocks, trip points and states that cannot be read, in words.
        doubts: what cannot be right of the power that is shown, in words.
        read_only: where the machine's files are mounted read-only; None if they are not.
        closed: files of energy counters that this user may not read.
        unseen: clocks that such a machine has and this user does not see, in words.
        driver: the process that drives the machine now; None if none does.
        left_behind: settings that a killed process left changed.
    """

    machine: str
    boards: tuple[str, ...]
    kernel: str
    power_mode: str | None
    system: SystemSurvey
    clocks: tuple[ClockSurvey, ...]
    rails: tuple[RailSurvey, ...]
    total: str
    shortest_window_s: float | None
    zones: tuple[ZoneSurvey, ...]
    throttled: tuple[str, ...]
    rivals: tuple[ConflictingProgram, ...]
    unread: tuple[str, ...]
    left_out: tuple[str, ...]
    doubts: tuple[str, ...]
    read_only: str | None
    closed: tuple[str, ...]
    unseen: tuple[str, ...]
    driver: str | None
    left_behind: int


def survey(sysfs: Sysfs) -> Survey:
    """Look at everything; what cannot be read is left out and named."""
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
    left_out: list[str] = []
    clocks = _clocks(sysfs, cards, left_out)
    zones = _zones(sysfs, cards, left_out)
    boards = tuple(filter(None, (_text(sysfs, COMPATIBLE) or "").split("\0")))
    driver = Journal.of_machine(sysfs).holder()
    throttled = throttle_reasons(sysfs, cards, left_out)
    return Survey(
        machine=machine_title(sysfs),
        boards=boards,
        kernel=_text(sysfs, "proc/sys/kernel/osrelease") or "unknown",
        power_mode=PowerModes(sysfs).title(),
        system=survey_system(sysfs),
        clocks=tuple(clocks),
        rails=rails,
        total=total.statement,
        shortest_window_s=READINGS_PER_WINDOW * max(periods_s) if periods_s else None,
        zones=tuple(zones),
        throttled=tuple(throttled),
        rivals=tuple(r for r in find_conflicts(sysfs) if driver is None or r != JETSON_CLOCKS),
        unread=tuple(power.unread),
        left_out=tuple(dict.fromkeys(left_out)),
        doubts=tuple(_doubts(rails, clocks, boards, may_be_zero=total.may_be_zero)),
        read_only=sysfs.read_only(sysfs.path("sys")),
        closed=tuple(_closed(sysfs)),
        unseen=tuple(_unseen(sysfs, clocks)),
        driver=driver,
        left_behind=0 if driver else _left_behind(sysfs),
    )


def _clocks(sysfs: Sysfs, cards: Sequence[NvmlCard], left_out: list[str]) -> list[ClockSurvey]:
    """Every clock once, with all the ways in which it can be held."""
    by_hold: dict[Hold, dict[str, KernelDomain]] = {}
    for hold in (Hold.CAP, Hold.PIN):
        context = _context(sysfs, hold)
        by_hold[hold] = find_domains(context)
        for card in cards:
            by_hold[hold].update(nvml_domains(card, context.changes, hold))
        left_out += [f"clock {name}: {reason}" for name, reason in context.left_out.items()]
        left_out += context.power_modes.unread
    found = {**by_hold[Hold.PIN], **by_hold[Hold.CAP]}  # capping is the default
    return [
        _clock(sysfs, domain, tuple(h.value for h in by_hold if domain.name in by_hold[h]))
        for domain in found.values()
    ]


def _clock(sysfs: Sysfs, domain: KernelDomain, holds: tuple[str, ...]) -> ClockSurvey:
    limits_hz = governor = None
    first = domain.members[0] if isinstance(domain, TogetherDomain) else domain
    if isinstance(first, LimitsDomain):
        with suppress(HardwareError):
            limits_hz = first.read_limits_hz()
        governor = _text(sysfs, str(first.files.governor.relative_to(sysfs.root)))
    elif isinstance(first, NvmlDomain):
        governor = "NVML, if asked"  # LinuxBoard's lock_nvidia
    now_hz = None
    with suppress(HardwareError):
        now_hz = domain.read_hz()
    denied = tuple(str(f) for f in domain.written_files if not sysfs.is_writable(f))
    return ClockSurvey(domain.name, domain.available_hz, now_hz, limits_hz, governor, holds, denied)


def _context(sysfs: Sysfs, hold: Hold) -> ClockContext:
    cooling, modes = CoolingDevices(sysfs), PowerModes(sysfs)
    return ClockContext(sysfs, DryRunChanges(), hold, cooling, modes, time.monotonic, time.sleep)


def _zones(sysfs: Sysfs, cards: Sequence[NvmlCard], left_out: list[str]) -> list[ZoneSurvey]:
    zones: dict[str, SysfsThermalZone | NvmlZone] = {
        **all_zones(sysfs, Search(left_out)),
        **nvml_zones(cards),
    }
    found = []
    for zone in zones.values():
        with suppress(HardwareError):  # a sensor whose unit sleeps
            found.append(ZoneSurvey(zone.name, zone.read_c(), zone.limit_c))
    return found


def _doubts(
    rails: Sequence[RailSurvey],
    clocks: Sequence[ClockSurvey],
    boards: Sequence[str],
    *,
    may_be_zero: bool,
) -> Iterator[str]:
    """What cannot be right of the power that is shown."""
    default = [rail for rail in rails if rail.in_total and rail.shunt_is_default]
    for rail in default:
        yield (
            f"{rail.name} is computed with a shunt of 10 mOhm, the driver's default: check yours "
            "(100 mOhm would read tenfold)"
        )
    read_w = [rail.power_w for rail in rails if rail.in_total and rail.power_w is not None]
    shown_w = sum(read_w)
    if read_w and shown_w == 0.0 and not may_be_zero:
        yield "the total shows 0 W, though the machine runs; check the power monitor's wiring"
    for name in devices_like(clocks, boards)[:1]:
        most_w = DeviceModel.load(name).max_power_w
        if shown_w > DOUBTFUL * most_w:
            yield (
                f"the total of {shown_w:.1f} W is more than a board like {name} draws (about "
                f"{most_w:.0f} W); check the shunts of its rails"
            )


def _rails(sensors: Mapping[str, PowerSensor], total: Sequence[str]) -> list[RailSurvey]:
    rails = []
    for name, sensor in sensors.items():
        power_w, problem = None, None
        try:
            power_w = sensor.read_w()
        except HardwareError as error:
            problem = str(error)
        shunt = sensor.shunt if isinstance(sensor, HwmonPower | Ina3221Power) else None
        rails.append(
            RailSurvey(
                name,
                power_w,
                sensor.step_w,
                sensor.period_s,
                name in total,
                shunt.uohm * 1e-6 if shunt else None,
                shunt.is_default if shunt else False,
                problem,
            )
        )
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
    with suppress(HardwareError):
        return sysfs.read_text(sysfs.path(name))
    return None

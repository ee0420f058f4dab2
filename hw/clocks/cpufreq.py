"""CPU clocks by the kernel's cpufreq policies (Documentation/admin-guide/pm/cpufreq.rst)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from hw.clocks.context import ClockContext
from hw.clocks.limits_domain import LimitFiles, LimitsDomain
from hw.clocks.processors import online_processors
from hw.clocks.together import TogetherDomain
from hw.errors import HardwareError, UnsupportedError
from hw.settings.settings import PROCESSORS
from hw.sysfs import Sysfs

POLICIES = "sys/devices/system/cpu/cpufreq"
N_GRID_POINTS = 8
HZ_PER_KHZ = 1000
PSTATE_DRIVERS = ("intel_pstate", "intel_cpufreq", "amd-pstate", "amd-pstate-epp")
"""Drivers with a policy for each core of a PC."""
MEASURING_DRIVERS = (*PSTATE_DRIVERS, "acpi-cpufreq")
"""Drivers under which the clock shown is measured (APERF/MPERF) and lies between the points."""


CpufreqDomain: TypeAlias = "LimitsDomain | TogetherDomain"


def cpufreq_domains(context: ClockContext) -> dict[str, CpufreqDomain]:
    """Find all policies: "cpu" where there is one, "cpu0", "cpu4" and so on where several.

    The cores of a PC that have the same operating points are one domain. Policies whose processors
    are all offline have no clock and are left out; `new_policies` finds them when they come.
    """
    sysfs = context.sysfs
    found: dict[str, CpufreqDomain] = {}
    for folder in sysfs.glob(f"{POLICIES}/policy*"):
        with context.leaving_out(_name(folder)):
            if not _is_online(sysfs, folder):
                continue
            domain = _domain(context, folder, _name(folder))
            group = group_of(sysfs, domain, found.values())
            if group is not None:
                group.join(domain)
            else:
                found[domain.name] = as_found(sysfs, domain)
    if len(found) == 1 and not context.left_out:
        (only,) = found.values()
        only.name = "cpu"
        found = {only.name: only}
    return found


def new_policies(context: ClockContext, known: Iterable[object]) -> Iterator[LimitsDomain]:
    """Policies that are online and not among the clocks that are known."""
    folders = {
        member.files.maximum.parent
        for domain in known
        for member in (domain.members if isinstance(domain, TogetherDomain) else (domain,))
        if isinstance(member, LimitsDomain)
    }
    for folder in context.sysfs.glob(f"{POLICIES}/policy*"):
        if folder not in folders and _is_online(context.sysfs, folder):
            yield _domain(context, folder, _name(folder))


def group_of(sysfs: Sysfs, domain: LimitsDomain, known: Iterable[object]) -> TogetherDomain | None:
    """The cores of a PC that a core is like; None if it is of another kind, or the first."""
    if not _is_core(sysfs, domain):
        return None
    alike = (
        other
        for other in known
        if isinstance(other, TogetherDomain) and other.available_hz == domain.available_hz
    )
    return next(alike, None)


def as_found(sysfs: Sysfs, domain: LimitsDomain) -> CpufreqDomain:
    """A policy as a clock of its own; with room for more where it is a core of a PC."""
    return TogetherDomain(domain.name, [domain]) if _is_core(sysfs, domain) else domain


def read_cpufreq_table(sysfs: Sysfs, folder: Path) -> tuple[int, ...]:
    """Operating points of a policy, ascending, Hz.

    Drivers without a table (intel_pstate, amd-pstate) get a grid of eight points between the
    hardware's limits.

    Raises:
        UnsupportedError: the table is empty.
    """
    table = folder / "scaling_available_frequencies"
    if sysfs.exists(table):
        raw_khz = set(sysfs.read_ints(table))
    else:
        low = sysfs.read_int(folder / "cpuinfo_min_freq")
        high = sysfs.read_int(folder / "cpuinfo_max_freq")
        steps = N_GRID_POINTS - 1
        raw_khz = {low + (high - low) * point // steps for point in range(N_GRID_POINTS)}
    if not raw_khz or min(raw_khz) <= 0:
        raise UnsupportedError(f"{table} lists no frequency; check the cpufreq driver")
    return tuple(khz * HZ_PER_KHZ for khz in sorted(raw_khz))


def _is_online(sysfs: Sysfs, folder: Path) -> bool:
    """Since Linux 5.19 all files of an offline policy answer that they are busy."""
    try:
        return bool(sysfs.read_text(folder / PROCESSORS))
    except HardwareError:
        if int(folder.name.removeprefix("policy")) in online_processors(sysfs):
            raise
        return False


def _name(folder: Path) -> str:
    return f"cpu{folder.name.removeprefix('policy')}"


def _domain(context: ClockContext, folder: Path, name: str) -> LimitsDomain:
    files = LimitFiles(
        minimum=folder / "scaling_min_freq",
        maximum=folder / "scaling_max_freq",
        current=folder / "scaling_cur_freq",
        governor=folder / "scaling_governor",
        governors=folder / "scaling_available_governors",
        target=folder / "scaling_setspeed",
        unit_hz=HZ_PER_KHZ,
        firmware_limit=folder / "bios_limit",
        hardware_limit=folder / "cpuinfo_max_freq",
        processors=frozenset(context.sysfs.read_ints(_all_processors(context.sysfs, folder))),
    )
    table = read_cpufreq_table(context.sysfs, folder)
    measures = _driver(context.sysfs, folder) in MEASURING_DRIVERS
    return LimitsDomain(name, files, table, context, shows_target=not measures)


def _all_processors(sysfs: Sysfs, folder: Path) -> Path:
    """File that lists a policy's processors, offline ones included where the kernel does."""
    related = folder / "related_cpus"
    return related if sysfs.exists(related) else folder / PROCESSORS


def _is_core(sysfs: Sysfs, domain: LimitsDomain) -> bool:
    return _driver(sysfs, domain.files.maximum.parent) in PSTATE_DRIVERS


def _driver(sysfs: Sysfs, folder: Path) -> str:
    file = folder / "scaling_driver"
    return sysfs.read_text(file) if sysfs.exists(file) else ""

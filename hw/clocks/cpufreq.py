"""CPU clocks by the kernel's cpufreq policies (Documentation/admin-guide/pm/cpufreq.rst)."""

from __future__ import annotations

from pathlib import Path

from hw.clocks.context import ClockContext
from hw.clocks.limits_domain import LimitFiles, LimitsDomain
from hw.clocks.together import TogetherDomain
from hw.errors import UnsupportedError
from hw.sysfs import Sysfs

POLICIES = "sys/devices/system/cpu/cpufreq"
N_GRID_POINTS = 8
HZ_PER_KHZ = 1000
PSTATE_DRIVERS = ("intel_pstate", "intel_cpufreq", "amd-pstate", "amd-pstate-epp")
"""Drivers with a policy for each core of a PC."""
MEASURING_DRIVERS = (*PSTATE_DRIVERS, "acpi-cpufreq")
"""Drivers under which the clock shown is measured (APERF/MPERF) and lies between the points."""


def cpufreq_domains(context: ClockContext) -> dict[str, LimitsDomain | TogetherDomain]:
    """Find all policies: "cpu" where there is one, "cpu0", "cpu4" and so on where several.

    The cores of a PC that have the same operating points are one domain. Policies whose processors
    are all offline have no clock and are left out.
    """
    sysfs = context.sysfs
    domains: list[LimitsDomain | TogetherDomain] = []
    cores: dict[tuple[int, ...], list[LimitsDomain]] = {}
    for folder in sysfs.glob(f"{POLICIES}/policy*"):
        if not _is_online(sysfs, folder):
            continue
        domain = _domain(context, folder, f"cpu{folder.name.removeprefix('policy')}")
        if _driver(sysfs, folder) in PSTATE_DRIVERS:
            cores.setdefault(domain.available_hz, []).append(domain)
        else:
            domains.append(domain)
    domains += [TogetherDomain(group[0].name, group) for group in cores.values()]
    if len(domains) == 1:
        domains[0].name = "cpu"
    return {domain.name: domain for domain in domains}


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
    if not raw_khz:
        raise UnsupportedError(f"{table} lists no frequency; check the cpufreq driver")
    return tuple(khz * HZ_PER_KHZ for khz in sorted(raw_khz))


def _is_online(sysfs: Sysfs, folder: Path) -> bool:
    return bool(sysfs.read_text(folder / "affected_cpus"))


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
        processors=folder / "affected_cpus",
    )
    table = read_cpufreq_table(context.sysfs, folder)
    measures = _driver(context.sysfs, folder) in MEASURING_DRIVERS
    return LimitsDomain(name, files, table, context, shows_target=not measures)


def _driver(sysfs: Sysfs, folder: Path) -> str:
    file = folder / "scaling_driver"
    return sysfs.read_text(file) if sysfs.exists(file) else ""

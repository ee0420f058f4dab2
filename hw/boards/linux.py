"""A Linux machine as the kernel shows it: clocks, power and temperature, found by probing."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hw.base import Applied, Board, Cause, EnergyReading, Hold
from hw.boards.conflicts import find_conflicts
from hw.boards.guard import DEFAULT_MARGIN_C, ThermalGuard
from hw.clocks.context import ClockContext
from hw.clocks.cpufreq import POLICIES, as_found, group_of, new_policies
from hw.clocks.devfreq import DEVFREQ
from hw.clocks.find import KernelDomain, check_readable, find_domains
from hw.clocks.limits_domain import LimitsDomain
from hw.clocks.processors import online_text
from hw.device.match import ANY_NUMBER
from hw.errors import (
    BoardNotFoundError,
    HardwareError,
    PermissionDeniedError,
    SensorReadError,
    UnsupportedError,
)
from hw.left_out import Search
from hw.nvidia.card import NvmlCard, nvml_cards
from hw.nvidia.nvml import NvmlZone, nvml_domains, nvml_zones
from hw.sensors.energy_meter import EnergyMeter
from hw.sensors.find import PowerSources, find_power
from hw.sensors.firmware import FirmwareWatch
from hw.session.dry_run import DryRunChanges, DryRunSysfs
from hw.session.session import Session
from hw.settings.power_mode import PowerModes
from hw.sysfs import Sysfs
from hw.thermal.cooling import CoolingDevices
from hw.thermal.supervision import ZoneWatch
from hw.thermal.zones import SysfsThermalZone, all_zones, answers

logger = logging.getLogger(__name__)

LATE_NODES_S = 10.0
"""Some drivers show their clock seconds after boot (Jetson GPUs)."""
LOOK_AGAIN_S = 0.5


class LinuxBoard(Board):
    """The machine this runs on.

    Everything it changes is saved on disk first and put back by `close`, at exit, or by the next
    process that opens the machine or runs `python -m hw.restore`.

    Args:
        sysfs: access to the kernel's files.
        hold: how clocks are held; by default they are capped, not pinned.
        domains: clocks to drive, by name or by a pattern that a whole name has to match, none if
            empty; all that are found if not given.
        lock_nvidia: whether to drive NVIDIA cards by locked ranges, which cannot be read back.
        thermal_margin_c: distance to the temperature limit at which clocks only go down.
        tell: takes one sentence for each write, which is then not made; None to make them.
        journal: folder of the journal; /var/lib/dvfo if not given.
        sample_period_s: time between two power readings in an energy window, s.
        clock: present time, s.
        sleep: waits for a number of seconds.
    """

    name = "linux"
    domains: dict[str, KernelDomain]

    def __init__(
        self,
        sysfs: Sysfs,
        *,
        hold: Hold = Hold.CAP,
        domains: Sequence[str] | None = None,
        lock_nvidia: bool = False,
        thermal_margin_c: float = DEFAULT_MARGIN_C,
        tell: Callable[[str], object] | None = None,
        journal: Path | None = None,
        sample_period_s: float = 0.02,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__()
        self.domains = {}
        self.power_sensors = {}
        self.thermal_zones = {}
        self.dry_run = tell is not None
        self.power = PowerSources()
        self._sysfs = sysfs if tell is None else DryRunSysfs(sysfs, tell)
        self._session: Session | DryRunChanges = (
            Session(sysfs, journal) if tell is None else DryRunChanges()
        )
        self._hold = hold
        self._wanted = domains
        self._thermal_margin_c = thermal_margin_c
        self._lock_nvidia = lock_nvidia
        self._zones = ZoneWatch({})
        self._firmware: FirmwareWatch | None = None
        self._sample_period_s = sample_period_s
        self._clock, self._sleep = clock, sleep
        self._meter: EnergyMeter | None = None
        self._is_measuring = False
        self._context: ClockContext | None = None
        self._online = ""
        self._told_late: set[str] = set()

    @property
    def temperature_limit_c(self) -> float:
        """Limit of the zone that is nearest to its own, degrees C.

        Raises:
            UnsupportedError: no zone has one.
            SensorReadError: no zone that has one answers.
        """
        return self._zones.tightest()[1]

    def temperature_c(self) -> float:
        """Read the zone that is nearest to its limit, degrees C; silent ones are left out.

        Raises:
            UnsupportedError: no zone has one.
            SensorReadError: no zone that has one answers.
        """
        return self._zones.tightest()[0]

    def margin_c(self) -> float:
        """Read how far the zone that is nearest to its limit is below it, degrees C.

        Raises:
            UnsupportedError: no zone has a limit.
            SensorReadError: no zone that has one answers.
        """
        # One look for both: in the next one another zone may be the nearest, with another limit.
        temperature_c, limit_c = self._zones.tightest()
        return limit_c - temperature_c

    @property
    def shortest_window_s(self) -> float:
        """Shortest energy window that the sensors resolve, s.

        Raises:
            UnsupportedError: the machine has no power sensor.
        """
        return self._the_meter.shortest_window_s

    def begin_window(self) -> None:
        """Start measuring energy.

        Raises:
            UnsupportedError: the machine has no power sensor.
        """
        self._the_meter.begin()
        self._is_measuring = True

    def end_window(self) -> EnergyReading:
        """Stop measuring and integrate the readings.

        Raises:
            SensorReadError: no window was begun, or a rail of the total said too little.
            WindowTooShortError: the sensors cannot resolve so short a time.
        """
        if self._meter is None or not self._is_measuring:
            raise SensorReadError("no energy window of board linux is open; begin one first")
        self._is_measuring = False
        return self._meter.end()

    def look_again(self) -> None:
        """Take up processors that came online since the board was opened."""
        online = online_text(self._sysfs)
        if self._context is None or online == self._online:
            return
        self._online = online
        try:
            for domain in new_policies(self._context, self.domains.values()):
                self._take_up(domain)
        except HardwareError as error:
            self._online = ""  # try again at the next step
            self._tell_once(f"processors that came online are not driven yet: {error}")

    def _take_up(self, domain: LimitsDomain) -> None:
        group = group_of(self._sysfs, domain, self.domains.values())
        if group is None and not self._wants(domain.name):
            return
        denied = [str(f) for f in domain.written_files if not self._sysfs.is_writable(f)]
        if denied:
            self._tell_once(
                f"{domain.name} came online and is not driven: this user may not write "
                f"{', '.join(denied)}"
            )
            return
        if group is not None:
            group.join(domain)
        else:
            found = as_found(self._sysfs, domain)
            self.domains = {**self.domains, found.name: found}
        logger.warning("%s came online and is driven from now on", domain.name)

    def _wants(self, name: str) -> bool:
        return self._wanted is None or any(re.fullmatch(w, name) for w in self._wanted)

    def _tell_once(self, text: str) -> None:
        if text not in self._told_late:
            self._told_late.add(text)
            logger.warning("%s", text)

    def seen(self, name: str, applied: Applied) -> Applied:
        """What became of a request; the firmware may be slower than the kernel believes."""
        if applied.cause is not None or self._firmware is None:
            return applied
        if self._firmware.reason(name) is None:
            return applied
        measured_hz = self._firmware.measured_hz(name) or applied.applied_hz
        return Applied(applied.requested_hz, measured_hz, Cause.FIRMWARE)

    def _give_clocks_back(self) -> None:
        self._session.give_back()

    def _take_clocks_again(self) -> None:
        for domain in self.domains.values():
            domain.forget()

    def _acquire(self) -> None:
        self._session.begin()
        try:
            self._find()
        except BaseException:
            self._release()
            raise

    def _find(self) -> None:
        context = self._context = ClockContext(
            self._sysfs,
            self._session,
            self._hold,
            CoolingDevices(self._sysfs),
            PowerModes(self._sysfs),
            self._clock,
            self._sleep,
        )
        cards = nvml_cards() if self._sysfs.is_live else []
        self._online = online_text(self._sysfs)
        found = self._find_domains(context, cards if self._lock_nvidia else [])
        self._check_writable(found)
        self.domains = found
        self.power = find_power(self._sysfs, cards, self._clock, self._sleep)
        self.power_sensors = self.power.sensors
        for text in self.power.unread:
            logger.warning("not measured: %s", text)
        self._find_zones(cards)
        self._firmware = FirmwareWatch(self._sysfs, self._clock)
        for rival in find_conflicts(self._sysfs):
            logger.warning("%s sets clocks too; %s", rival.name, rival.remedy)

    def _find_zones(self, cards: Sequence[NvmlCard]) -> None:
        """Zones that answer are shown; those that sleep are watched too, for they may wake up."""
        search = Search(sleep=self._sleep)
        zones: dict[str, SysfsThermalZone | NvmlZone] = {
            **all_zones(self._sysfs, search),
            **nvml_zones(cards),
        }
        self.thermal_zones = {name: zone for name, zone in zones.items() if answers(zone)}
        for text in search.unread:
            logger.warning("left out of the temperatures: %s", text)
        silent = frozenset(zones.keys() - self.thermal_zones.keys())
        self._zones = ZoneWatch(zones, silent, self._clock)
        self.guard = None
        if self._zones.has_limits:
            self.guard = ThermalGuard(self._thermal_margin_c, self._clock)
        elif zones or search.unread:
            logger.warning(
                "the board is not guarded against heat, for none of its thermal zones has a limit "
                "that can be read; see python -m hw.doctor"
            )

    def _find_domains(
        self, context: ClockContext, cards: Sequence[NvmlCard]
    ) -> dict[str, KernelDomain]:
        """All clocks, or those that are wanted, which may come late."""
        deadline_s = self._clock() + LATE_NODES_S
        while True:
            context.left_out.clear()
            found = self._readable(context)
            for card in cards:
                found.update(nvml_domains(card, self._session, self._hold))
            missing = [
                wanted
                for wanted in self._wanted or ()
                if not any(re.fullmatch(wanted, name) for name in found)
            ]
            if not missing or self._clock() >= deadline_s:
                break
            self._sleep(LOOK_AGAIN_S)
        reasons = "; ".join(f"{name}: {reason}" for name, reason in context.left_out.items())
        if not found:
            raise BoardNotFoundError(
                f"no clock under {self._sysfs.path(POLICIES)} or {self._sysfs.path(DEVFREQ)}"
                f"{f' that can be read ({reasons})' if reasons else ''}; "
                "use --board sim or emulated, or a machine whose kernel controls its clocks "
                "(virtual machines rarely do)"
            )
        if missing:
            raise UnsupportedError(
                f"this machine has no clock {', '.join(missing).replace(ANY_NUMBER, '')} (found: "
                f"{', '.join(found) or 'none'}{f'; left out: {reasons}' if reasons else ''}); see "
                "python -m hw.doctor, and run as root where it says so"
            )
        for name, reason in context.left_out.items():
            logger.warning("clock %s is left out: %s", name, reason)
        return {name: domain for name, domain in found.items() if self._wants(name)}

    def _readable(self, context: ClockContext) -> dict[str, KernelDomain]:
        """The clocks that can be driven, as far as reading them shows."""
        found = {}
        for name, domain in find_domains(context).items():
            with context.leaving_out(name):
                check_readable(domain)
                found[name] = domain
        return found

    def _check_writable(self, found: Mapping[str, KernelDomain]) -> None:
        """Refuse now what would be refused at the first control step.

        Raises:
            PermissionDeniedError: names every file that this user may not write.
        """
        files = [file for domain in found.values() for file in domain.written_files]
        denied = [str(file) for file in files if not self._sysfs.is_writable(file)]
        if denied:
            read_only = self._sysfs.read_only(Path(denied[0]))
            if read_only is not None:
                raise PermissionDeniedError(f"{len(denied)} files cannot be written: {read_only}")
            raise PermissionDeniedError(
                f"this user may not write {', '.join(denied)}; run as root, or give your group "
                "access by a udev rule (docs/permissions.md)"
            )

    def _release(self) -> None:
        if self._meter is not None:
            self._meter.cancel()
            self._meter = None
        self._is_measuring = False
        self._context = None
        try:
            self._session.end()
        finally:
            self.power.close()
            self._sysfs.close()

    @property
    def _the_meter(self) -> EnergyMeter:
        if self._meter is None:
            self._meter = self._make_meter()
        return self._meter

    def _make_meter(self) -> EnergyMeter:
        total = self.power.total
        if not total.rails:
            denied = f" ({'; '.join(self.power.unread)})" if self.power.unread else ""
            raise UnsupportedError(
                f"no power sensor under {self._sysfs.path('sys')}{denied}; load the driver of the "
                "board's power monitor (ina3221, ina2xx, intel_rapl), or use --board sim"
            )
        return EnergyMeter(
            self.power.sensors,
            self.power.counters,
            total.rails,
            may_be_zero=total.may_be_zero,
            sample_period_s=self._sample_period_s,
            clock=self._clock,
        )

"""Memory clock of Jetson boards: the firmware's debug files, and the power mode's cap.

Tegra186 and later answer through the BPMP firmware, which silently drops what it does not like, so
that nothing counts but what is read back. Tegra210 (Nano) has an override clock instead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from hw.base import Applied, Cause, Hold
from hw.clocks.context import ClockContext
from hw.clocks.retreat import Retreat
from hw.errors import UnsupportedError
from hw.plausible import plausible_hz
from hw.settings.settings import Attribute
from hw.sysfs import Sysfs

BPMP_CLOCK = "sys/kernel/debug/bpmp/debug/clk/emc"
BPMP_TABLE = "sys/kernel/debug/bpmp/debug/emc/possible_rates"
CAPS = ("sys/kernel/nvpmodel_clk_cap/emc", "sys/kernel/nvpmodel_emc_cap/emc_iso_cap")
"""JetPack 6, and 4 and 5; Hz, 0 or -1 for no cap."""
NO_CAP = -1
OVERRIDE = "sys/kernel/debug/clk/override.emc"
OVERRIDE_BOUNDS = "sys/kernel/debug/tegra_bwmgr"
OVERRIDE_MHZ = (204.0, 408.0, 665.6, 800.0, 1065.6, 1331.2, 1600.0)
"""Tegra210's usable points, which it lists nowhere."""
LOWEST_HZ = 200_000_000
"""Below this inference takes seconds whatever the other clocks; such points are left out."""
HIGHEST_KHZ = 10_000_000
"""Tables whose numbers all lie below this are in kHz: no memory runs as slow as 10 MHz."""


class EmcDomain(ABC):
    """A memory clock of which only what is read back counts.

    Args:
        available_hz: ascending operating points, Hz.
        context: what all domains share.
    """

    name = "emc"

    def __init__(self, available_hz: tuple[int, ...], context: ClockContext) -> None:
        self.available_hz = available_hz
        self._context = context
        self._target_hz: int | None = None
        self._asked_hz: int | None = None
        self._is_writing = False
        self._rivals_cause: Cause | None = None
        self._retreat = Retreat(context.clock)

    @abstractmethod
    def read_hz(self) -> int:
        """Read the clock in force, Hz."""

    @property
    @abstractmethod
    def settings(self) -> tuple[Attribute, ...]:
        """What is changed, in the order in which it is saved; restored from the last."""

    @abstractmethod
    def _write(self, target_hz: int) -> None:
        """Ask for a clock."""

    @abstractmethod
    def _found_hz(self) -> int:
        """What the request has become, Hz."""

    @abstractmethod
    def _rival(self) -> Cause | None:
        """What changed the clock since it was last written; None if nothing did."""

    @abstractmethod
    def _save_rivals(self) -> None:
        """Save what another program set, which is put back at the end."""

    def check_readable(self) -> None:
        """Read what driving it takes.

        Raises:
            HardwareError: it cannot be read, or holds no clock.
        """
        self.read_hz()
        self._found_hz()
        for setting in self.settings:
            self._read_hz(setting.shown)

    @property
    def written_files(self) -> tuple[Path, ...]:
        """Files that a request writes."""
        return tuple(setting.path for setting in self.settings)

    def _read_hz(self, path: Path) -> int:
        """A clock, a cap (0 for none) or a switch."""
        raw = self._context.sysfs.read_int(path)
        return plausible_hz(str(path), 0 if raw == NO_CAP else raw, self.available_hz[-1])

    def request(self, freq_hz: int) -> Applied:
        """Ask for the nearest operating point and read back what it became.

        Raises:
            JournalError: what is in force could not be saved, so nothing was changed.
            HardwareError: the kernel refused the write.
        """
        target_hz = min(self.available_hz, key=lambda hz: abs(hz - freq_hz))
        self._save()
        rival = self._rival()
        if rival is not None:
            self._save_rivals()
            self._rivals_cause, self._asked_hz = rival, None
            self._retreat.begin()
        if not self._retreat.is_on() and self._is_to_be_written(target_hz):
            self._is_writing = True
            self._write(target_hz)
            self._is_writing = False
            self._rivals_cause, self._asked_hz = None, target_hz
        self._target_hz = target_hz
        return self._compare(target_hz)

    def verify(self) -> Applied | None:
        """Compare the last request with what is in force now; None if there was none."""
        if self._target_hz is None:
            return None
        rival = self._rival()
        if rival is not None:
            return Applied(self._target_hz, self._found_hz(), rival)
        return self._compare(self._target_hz)

    def forget(self) -> None:
        """Begin anew: what was set here has been put back. A retreat goes on."""
        self._target_hz = self._asked_hz = None

    def _save(self) -> None:
        changes = self._context.changes
        for setting in self.settings:
            if not changes.knows(setting):
                self._read_hz(setting.shown)  # what is no number could never be put back
                changes.save(setting)
                if setting is self.settings[-1]:
                    changes.before_end(self._look_last)

    def _look_last(self) -> None:
        """Before all is put back: another program's setting since the last step is kept too."""
        if not self._is_writing and self._rival() is not None:
            self._save_rivals()

    def _is_to_be_written(self, target_hz: int) -> bool:
        return target_hz != self._asked_hz or self._found_hz() != target_hz

    def _compare(self, target_hz: int) -> Applied:
        found_hz = self._found_hz()
        if self._retreat.is_on():
            return Applied(target_hz, found_hz, self._rivals_cause)
        if found_hz == target_hz:
            return Applied(target_hz, target_hz)
        if self._context.cooling.holds(self.name):
            return Applied(target_hz, found_hz, Cause.THERMAL)
        cap_hz = read_emc_cap_hz(self._context.sysfs)
        capped = cap_hz is not None and found_hz <= cap_hz < target_hz
        return Applied(target_hz, found_hz, Cause.POWER_MODE if capped else Cause.FIRMWARE)


class SwitchedEmc(EmcDomain):
    """A clock that is held by switches: only who writes these files can change it then."""

    _seen: tuple[str, ...] = ()
    _seen_hz = 0

    @property
    @abstractmethod
    def _rate(self) -> Attribute:
        """The clock."""

    @property
    @abstractmethod
    def _switches(self) -> tuple[Attribute, ...]:
        """What holds it, in the order of writing."""

    @property
    def settings(self) -> tuple[Attribute, ...]:
        """Rate last, so that it is put back while the switches still hold others off."""
        return (*reversed(self._switches), self._rate)

    def read_hz(self) -> int:
        """Read the clock in force, Hz."""
        return self._read_hz(self._rate.shown)

    def _found_hz(self) -> int:
        return self.read_hz()

    def _write(self, target_hz: int) -> None:
        self._rate.write(str(target_hz))
        for switch in self._switches:
            switch.write("1")
        self._look()

    def forget(self) -> None:
        """Begin anew: what was set here has been put back."""
        super().forget()
        self._seen = ()

    def _look(self) -> None:
        self._seen = tuple(switch.read() for switch in self._switches)
        self._seen_hz = self._found_hz()

    def _rival(self) -> Cause | None:
        """Lower than asked for is the firmware's choice; higher, while it is held, no program's."""
        if not self._seen:
            return None
        if tuple(switch.read() for switch in self._switches) != self._seen:
            return Cause.PROGRAM
        is_held = all(text == "1" for text in self._seen)
        highest_hz = max(self._seen_hz, self._asked_hz or 0)
        return Cause.PROGRAM if is_held and self._found_hz() > highest_hz else None

    def _save_rivals(self) -> None:
        for setting in self.settings:
            self._context.changes.save(setting, setting.read())
        self._look()


class BpmpEmc(SwitchedEmc):
    """Locked by the BPMP firmware."""

    def __init__(self, available_hz: tuple[int, ...], context: ClockContext) -> None:
        super().__init__(available_hz, context)
        sysfs, folder = context.sysfs, context.sysfs.path(BPMP_CLOCK)
        self._clock = Attribute(sysfs, folder / "rate")
        self._lock = Attribute(sysfs, folder / "mrq_rate_locked")
        self._state = Attribute(sysfs, folder / "state")

    @property
    def _rate(self) -> Attribute:
        return self._clock

    @property
    def _switches(self) -> tuple[Attribute, ...]:
        return self._lock, self._state


class CappedEmc(EmcDomain):
    """Bounded from above by the power mode's cap; what is below is the firmware's choice.

    A cap that another program has set, before or meanwhile, is never exceeded.
    """

    def __init__(self, available_hz: tuple[int, ...], context: ClockContext, cap: Path) -> None:
        super().__init__(available_hz, context)
        self._cap = Attribute(context.sysfs, cap)
        self._ceiling_hz = available_hz[-1]
        self._written_hz: int | None = None
        self._power_mode = context.power_modes.current()

    @property
    def settings(self) -> tuple[Attribute, ...]:
        """The cap."""
        return (self._cap,)

    def read_hz(self) -> int:
        """Read the clock in force, Hz."""
        return self._read_hz(self._context.sysfs.path(BPMP_CLOCK) / "rate")

    def forget(self) -> None:
        """Begin anew: what was set here has been put back."""
        super().forget()
        self._written_hz = None
        self._power_mode = self._context.power_modes.current() or self._power_mode

    def _write(self, target_hz: int) -> None:
        if self._written_hz is None:
            self._ceiling_hz = self._found_hz()
        wanted_hz = min(target_hz, self._ceiling_hz)
        self._cap.write(str(wanted_hz))
        self._written_hz = self._found_hz()

    def _found_hz(self) -> int:
        cap_hz = self._read_hz(self._cap.path)
        return cap_hz if cap_hz > 0 else self.available_hz[-1]

    def _rival(self) -> Cause | None:
        if self._written_hz is None:
            return None
        if self._is_other_mode():
            return Cause.POWER_MODE
        return None if self._found_hz() == self._written_hz else Cause.PROGRAM

    def _is_other_mode(self) -> bool:
        before, mode = self._power_mode, self._context.power_modes.current()
        return mode is not None and before is not None and mode != before

    def _save_rivals(self) -> None:
        if self._is_other_mode() and self._found_hz() == self._written_hz:
            self._put_modes_cap()
        modes = self._context.power_modes
        self._context.changes.save(self._cap, self._cap.read())
        self._power_mode = modes.current() or self._power_mode
        self._ceiling_hz = self._written_hz = self._found_hz()

    def _put_modes_cap(self) -> None:
        """Write the new mode's cap again, which our last write has overwritten."""
        modes = self._context.power_modes
        text = modes.sets(modes.current() or "", self._cap.path)
        if text is not None:
            self._cap.write(text)


class OverrideEmc(SwitchedEmc):
    """Overridden on Tegra210."""

    def __init__(self, available_hz: tuple[int, ...], context: ClockContext) -> None:
        super().__init__(available_hz, context)
        sysfs, folder = context.sysfs, context.sysfs.path(OVERRIDE)
        self._clock = Attribute(sysfs, folder / "clk_update_rate", shown=folder / "clk_rate")
        self._state = Attribute(sysfs, folder / "clk_state")

    @property
    def _rate(self) -> Attribute:
        return self._clock

    @property
    def _switches(self) -> tuple[Attribute, ...]:
        return (self._state,)


def emc_domains(context: ClockContext) -> dict[str, EmcDomain]:
    """Find the memory clock; empty where there is none, or where this user cannot see it."""
    sysfs = context.sysfs
    if sysfs.exists(sysfs.path(OVERRIDE)):
        low, high = (
            sysfs.read_int(sysfs.path(OVERRIDE_BOUNDS) / f"emc_{end}_rate")
            for end in ("min", "max")
        )
        points_hz = tuple(hz for mhz in OVERRIDE_MHZ if low <= (hz := round(mhz * 1e6)) <= high)
        return {EmcDomain.name: OverrideEmc(points_hz, context)} if points_hz else {}
    if not sysfs.exists(sysfs.path(BPMP_TABLE)):
        return {}
    points_hz = read_emc_table(sysfs)
    if not points_hz:
        return {}
    if context.hold is not Hold.CAP:
        return {EmcDomain.name: BpmpEmc(points_hz, context)}
    cap = emc_cap_file(sysfs)
    return {EmcDomain.name: CappedEmc(points_hz, context, cap)} if cap else {}


def read_emc_table(sysfs: Sysfs) -> tuple[int, ...]:
    """Usable operating points of the BPMP firmware, ascending, Hz; it lists kHz.

    Raises:
        UnsupportedError: the table is empty.
    """
    raw = sorted(set(sysfs.read_ints(sysfs.path(BPMP_TABLE))))
    if not raw or raw[0] < 0:
        raise UnsupportedError(f"{sysfs.path(BPMP_TABLE)} lists no frequency; check the firmware")
    unit_hz = 1000 if raw[-1] < HIGHEST_KHZ else 1
    return tuple(value * unit_hz for value in raw if value * unit_hz >= LOWEST_HZ)


def emc_cap_file(sysfs: Sysfs) -> Path | None:
    """The power mode's cap of the memory clock, where this release has one."""
    return next((path for path in map(sysfs.path, CAPS) if sysfs.exists(path)), None)


def read_emc_cap_hz(sysfs: Sysfs) -> int | None:
    """The power mode's cap, Hz; None where nothing is capped."""
    path = emc_cap_file(sysfs)
    cap_hz = sysfs.read_int(path) if path is not None else 0
    return cap_hz if cap_hz > 0 else None

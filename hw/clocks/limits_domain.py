"""A clock that the kernel bounds by two files, as cpufreq and devfreq do."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from hw.base import Applied, Cause, Hold
from hw.clocks.context import ClockContext
from hw.clocks.processors import online_processors
from hw.clocks.retreat import Retreat
from hw.clocks.userspace import UserspaceGovernor, check_text
from hw.errors import HardwareError
from hw.plausible import plausible_hz
from hw.settings.settings import LOOK_AGAIN_S, Attribute, LimitPair, Limits

SETTLE_S = 0.05
"""Time after which a clock must be in force; real ones need 1 to 8 ms (arXiv 2606.16106)."""
GATE_TEXTS = ("0", "1", "auto", "on")
"""What a gate of a clock (railgate_enable, power/control) can show."""
CAPS = (Cause.THERMAL, Cause.FIRMWARE)
"""Those who hold a limit down without changing what was asked for."""


@dataclass(frozen=True, slots=True)
class LimitFiles:
    """Where a clock is bounded and read.

    Attributes:
        minimum: lower limit.
        maximum: upper limit.
        current: clock in force.
        governor: name of the governor.
        governors: names that it may have.
        target: clock that the governor "userspace" holds.
        unit_hz: Hz per unit of these files.
        firmware_limit: upper limit set by the firmware, if the driver shows one.
        hardware_limit: highest clock of the hardware, with boost above the operating points, if the
            driver shows one.
        processors: numbers of those that run at this clock; none where it is no processor's.
        kept_awake: files, with the text that keeps the clock from being gated while it is held.
    """

    minimum: Path
    maximum: Path
    current: Path
    governor: Path
    governors: Path
    target: Path
    unit_hz: int
    firmware_limit: Path | None = None
    hardware_limit: Path | None = None
    processors: frozenset[int] = frozenset()
    kept_awake: tuple[tuple[Path, str], ...] = ()


class LimitsDomain:
    """A clock between two limits.

    The upper limit that is found, which a power mode or a person chose, is never exceeded; asked
    for the highest point, it is what is set, so that boost above that point stays. A rival
    that changes the limits wins: what it set becomes what is given back at the end, and
    the domain keeps its hands off for a while that doubles each time.

    Args:
        name: domain name.
        files: where it is bounded.
        available_hz: ascending operating points, Hz.
        context: what all domains share.
        shows_target: whether the clock that the kernel shows is the one it set, not a measured
            one that lies between operating points.
    """

    def __init__(
        self,
        name: str,
        files: LimitFiles,
        available_hz: tuple[int, ...],
        context: ClockContext,
        *,
        shows_target: bool = True,
    ) -> None:
        self.name = name
        self.available_hz = available_hz
        self.files = files
        self._context = context
        self._pair = LimitPair(context.sysfs, files.minimum, files.maximum)
        self._shows_target = shows_target
        self._governor = (
            UserspaceGovernor(context, files.governor, files.governors)
            if context.hold is Hold.USERSPACE
            else None
        )
        self._raw_floor, self._raw_ceiling = 0, 0
        self._wanted: Limits | None = None
        self._found: Limits | None = None
        self._applied: Applied | None = None
        self._power_mode = context.power_modes.current()
        self._written_s = 0.0
        self._is_writing = False
        self._retreat = Retreat(context.clock)

    @property
    def written_files(self) -> tuple[Path, ...]:
        """Files that a request writes."""
        gates = tuple(path for path, _ in self.files.kept_awake)
        if self._context.hold is Hold.CAP:
            return self.files.minimum, self.files.maximum
        if self._context.hold is Hold.PIN:
            return self.files.minimum, self.files.maximum, *gates
        return self.files.governor, *gates

    def read_hz(self) -> int:
        """Read the clock in force, Hz; 0 while its processors are offline."""
        return 0 if self._is_offline() else self._current_hz()

    def read_limits_hz(self) -> tuple[int, int]:
        """Read the limits in force, Hz."""
        limits = self._read_limits()
        return limits.raw_min * self.files.unit_hz, limits.raw_max * self.files.unit_hz

    def request(self, freq_hz: int) -> Applied:
        """Ask for the nearest operating point and read back what it became.

        Raises:
            JournalError: what is in force could not be saved, so nothing was changed.
            HardwareError: the kernel refused the write.
        """
        target_hz = self._nearest_hz(freq_hz)
        try:
            if not self._is_offline():
                return self._request(target_hz)
        except HardwareError:
            if not self._is_offline():  # went offline in between
                raise
        return self._remember(target_hz, 0, Cause.OFFLINE)

    def _request(self, target_hz: int) -> Applied:
        present = self._read_limits()
        if self._applied is not None and self._applied.cause is Cause.OFFLINE:
            self._come_back(present)
        rival = self._rival(present)
        if rival is not None:
            self._give_way(present, rival)
            present = self._found or present
        if self._retreat.is_on():
            cause = rival or (self._applied.cause if self._applied else None) or Cause.PROGRAM
            return self._remember(target_hz, present.raw_max * self.files.unit_hz, cause)
        if not self._context.changes.knows(self._pair):
            self._save(present)
            self._context.changes.before_end(self._look_last)
            self._keep_awake()
        if self._governor is not None:
            self._take_over(self._governor, target_hz)
        else:
            self._bound(target_hz, present)
        return self._compare(target_hz)

    def verify(self) -> Applied | None:
        """Compare the last request with what is in force now; None if there was none."""
        applied = self._applied
        if applied is None:
            return None
        try:
            if not self._is_offline():
                return self._verify(applied)
        except HardwareError:
            if not self._is_offline():
                raise
        return Applied(applied.requested_hz, 0, Cause.OFFLINE)

    def forget(self) -> None:
        """Begin anew: what was set here has been put back. A retreat goes on."""
        self._wanted = self._found = self._applied = None
        if self._governor is not None:
            self._governor.forget()

    def _verify(self, applied: Applied) -> Applied:
        if self._wanted is None or self._found is None:
            return applied
        if self._retreat.is_on() or applied.cause is Cause.OFFLINE:
            return applied
        present = self._read_limits()
        rival = self._rival(present)
        if rival is not None:
            return Applied(applied.requested_hz, present.raw_max * self.files.unit_hz, rival)
        self._found = present
        return self._compare(applied.requested_hz)

    def _read_limits(self) -> Limits:
        """Limits in force; impossible ones must neither be saved nor taken for foreign ones."""
        limits, unit_hz = self._pair.read(), self.files.unit_hz
        for file, raw in zip(self._pair.files, limits, strict=True):
            plausible_hz(str(file), raw * unit_hz, self.available_hz[-1])
        return limits

    def _save(self, present: Limits) -> None:
        """Save what is given back at the end, and what must not be exceeded until then."""
        owed = self._context.changes.owed(self._pair)
        if owed is not None:
            present = Limits.of(owed)
        table, highest = self._table(), self._highest()
        shown = present.raw_max or highest  # old devfreq: 0 is no limit
        raw_max = self._context.uncapped(self.name, self.files.maximum, shown, table, highest)
        self._raw_floor, self._raw_ceiling = present.raw_min, raw_max
        self._context.changes.save(self._pair, [present.raw_min, raw_max])
        self._power_mode = self._context.power_modes.current() or self._power_mode

    def _table(self) -> list[int]:
        """Operating points in the unit of the files."""
        return [hz // self.files.unit_hz for hz in self.available_hz]

    def _highest(self) -> int:
        """What no limit means, in the unit of the files; boost only where it can be read."""
        top, file = self.available_hz[-1] // self.files.unit_hz, self.files.hardware_limit
        if file is None:
            return top
        try:
            return max(top, self._context.sysfs.read_int(file))
        except HardwareError:
            return top

    def _come_back(self, present: Limits) -> None:
        """Processors are online again; some drivers have forgotten all limits meanwhile."""
        if self._governor is not None:
            self._governor.come_back()
        if self._is_unbounded(present):
            self._wanted = self._found = None

    def _is_unbounded(self, present: Limits) -> bool:
        return present == Limits(self._table()[0], self._highest())

    def _keep_awake(self) -> None:
        """A gated GPU loses its clock; a capped one may sleep."""
        if self._context.hold is Hold.CAP:
            return
        for path, text in self.files.kept_awake:
            gate = Attribute(self._context.sysfs, path)
            check_text(gate, GATE_TEXTS)
            self._context.changes.save(gate)
            gate.write(text)

    def _bound(self, target_hz: int, present: Limits) -> None:
        raw = min(target_hz // self.files.unit_hz, self._raw_ceiling)
        raw_min = raw if self._context.hold is Hold.PIN else min(self._raw_floor, raw)
        # With boost the limit found lies above the last point, and that point would switch it off.
        is_highest = target_hz == self.available_hz[-1]
        wanted = Limits(raw_min, self._raw_ceiling if is_highest else raw)
        if wanted != self._wanted or present != self._found:
            self._is_writing = True
            self._pair.write(wanted, self._asked(present))
            self._written_s = self._context.clock()
        self._wanted = wanted
        self._found = self._read_back(wanted)
        self._is_writing = False

    def _read_back(self, wanted: Limits) -> Limits:
        """Limits once the kernel has acted: cpufreq does so in a worker, after the write."""
        while True:
            found = self._read_limits()
            if found == wanted or self._is_settled():
                return found
            points = [self._nearest_hz(raw * self.files.unit_hz) for raw in (*found, *wanted)]
            if points[:2] == points[2:] or self._limiter(found) in CAPS:
                return found
            self._context.sleep(LOOK_AGAIN_S)

    def _asked(self, present: Limits) -> Limits | None:
        """The limits that were asked for last, as far as that is known."""
        if self._wanted is not None:
            return self._wanted
        return Limits(present.raw_min, -1) if self._context.hold is Hold.CAP else None

    def _take_over(self, governor: UserspaceGovernor, target_hz: int) -> None:
        """Hold the clock by the governor "userspace"."""
        governor.take_over()
        self._context.sysfs.write_text(self.files.target, str(target_hz // self.files.unit_hz))
        self._written_s = self._context.clock()
        self._found = self._wanted = self._read_limits()

    def _compare(self, target_hz: int) -> Applied:
        """What the limits, and where it is held the clock, say about the request."""
        assert self._found is not None
        found, unit_hz = self._found, self.files.unit_hz
        max_hz = self._nearest_hz(found.raw_max * unit_hz)
        min_hz = self._nearest_hz(found.raw_min * unit_hz)
        if max_hz < target_hz or (self._context.hold is Hold.PIN and min_hz > target_hz):
            return self._remember(target_hz, max_hz, self._limiter(found))
        if self._context.hold is not Hold.CAP and self._shows_target and self._is_settled():
            current_hz = self._nearest_hz(self._current_hz())
            if current_hz != target_hz:
                hot = self._context.cooling.holds(self.name)
                cause = Cause.THERMAL if hot else Cause.FIRMWARE
                return self._remember(target_hz, current_hz, cause)
        return self._remember(target_hz, target_hz, None)

    def _limiter(self, found: Limits) -> Cause:
        """Who holds the limits lower than was asked for."""
        if self._context.cooling.holds(self.name):
            return Cause.THERMAL
        if found.raw_max >= self._raw_ceiling:
            is_mode = self._context.power_modes.limit(self.files.maximum) is not None
            return Cause.POWER_MODE if is_mode else Cause.LIMIT
        sysfs, firmware = self._context.sysfs, self.files.firmware_limit
        if firmware is not None and sysfs.exists(firmware):
            return Cause.FIRMWARE if sysfs.read_int(firmware) <= found.raw_max else Cause.LIMIT
        return Cause.LIMIT

    def _rival(self, present: Limits) -> Cause | None:
        """What changed the limits since they were last looked at; None if nothing did."""
        if not self._context.changes.knows(self._pair):
            return None
        # First: what nvpmodel set just before our last write was overwritten and shows no more.
        if self._is_other_mode():
            return Cause.POWER_MODE
        if self._governor is not None and self._governor.has_rival():
            return Cause.PROGRAM
        if self._found is None or self._wanted is None or present in (self._found, self._wanted):
            return None
        if present.raw_max <= self._wanted.raw_max and present.raw_min <= self._wanted.raw_min:
            # A cap that comes or goes: what was asked for stands behind it.
            was_capped = self._applied is not None and self._applied.cause in CAPS
            if was_capped or self._limiter(present) in CAPS:
                return None
        return Cause.PROGRAM

    def _is_other_mode(self) -> bool:
        """Whether another power mode was chosen; its status is gone for an instant at each."""
        before, mode = self._power_mode, self._context.power_modes.current()
        return mode is not None and before is not None and mode != before

    def _give_way(self, present: Limits, rival: Cause) -> None:
        """Let another program have it: give back at the end what it set, and wait."""
        self._save_rivals(present)
        self._found = self._wanted = present
        self._retreat.begin()
        allowed = Limits(self._raw_floor, self._raw_ceiling)
        if rival is Cause.POWER_MODE and allowed != present:
            # Ends that are still ours: a mode's limit must not be exceeded until we go on.
            self._pair.write(allowed)
            self._written_s = self._context.clock()
            self._wanted = allowed
            self._found = self._read_back(allowed)

    def _save_rivals(self, present: Limits) -> None:
        """Save what another program set; an end that is still ours keeps what was saved before."""
        if self._governor is not None:
            self._governor.save_rivals()
        ours = [limits for limits in (self._wanted, self._found) if limits is not None]
        kept: tuple[int, ...] = (self._raw_floor, self._raw_ceiling)
        if self._is_other_mode():
            of_mode = map(self._context.power_modes.sets_now, self._pair.files)
            kept = tuple(b if m is None else m for b, m in zip(kept, of_mode, strict=True))
        low, high = (
            now if ours and all(now != each[end] for each in ours) else kept[end]
            for end, now in enumerate(present)
        )
        self._save(Limits(min(low, high), high))

    def _look_last(self) -> None:
        """Before all is put back: another program's setting since the last step is kept too."""
        # A write that an exit interrupted leaves what is ours and looks like another program's.
        if self._is_writing or self._found is None or self._is_offline():
            return
        present = self._read_limits()
        if self._applied is not None and self._applied.cause is Cause.OFFLINE:
            self._come_back(present)
        # Processors that were off and on again may have forgotten their limits since.
        if self.files.processors and self._is_unbounded(present):
            present = self._found or present
        if self._rival(present) is not None:
            self._save_rivals(present)

    def _current_hz(self) -> int:
        hz = self._context.sysfs.read_int(self.files.current) * self.files.unit_hz
        return plausible_hz(str(self.files.current), hz, self.available_hz[-1])

    def _is_offline(self) -> bool:
        """Whether all processors were taken offline: the kernel answers nothing about them then."""
        if not self.files.processors:
            return False
        online = online_processors(self._context.sysfs)
        return bool(online) and self.files.processors.isdisjoint(online)

    def _is_settled(self) -> bool:
        return self._context.clock() - self._written_s >= SETTLE_S

    def _remember(self, requested_hz: int, applied_hz: int, cause: Cause | None) -> Applied:
        self._applied = Applied(requested_hz, applied_hz, cause)
        return self._applied

    def _nearest_hz(self, freq_hz: int) -> int:
        points_hz = self.available_hz
        above = bisect_left(points_hz, freq_hz, 1, len(points_hz) - 1) if len(points_hz) > 1 else 0
        below_hz, above_hz = points_hz[above - 1], points_hz[above]
        return below_hz if freq_hz - below_hz <= above_hz - freq_hz else above_hz

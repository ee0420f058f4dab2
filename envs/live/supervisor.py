"""Supervised board for the control loop: short failures to read or set are bridged.

Sensors and drivers fail now and then, and a service must not end for it. Each failure costs one
reading: the last one stands in. After `outage.PATIENCE` control steps in a row without power the
clocks stay low, because the cost of a high one is no longer measured; without temperature the board
counts as hot. Requests are served all the while, and one good reading brings everything back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from hw.base import Board, OperatingPoint
from hw.errors import HardwareError, UnreadWindowError
from hw.outage import Outage

LOW_SHARE = 0.25
"""How far up its table a clock may go while power is unknown; at the very bottom no request
would be answered in time (a TX2's lowest CPU clock is a sixth of its highest, its lowest GPU clock
an eleventh)."""
UNMEASURED = "power is not measured"


@dataclass(frozen=True, slots=True)
class ClockInForce:
    """One clock as the policy asked for it and as it is.

    Attributes:
        name: of the clock domain.
        requested_hz: by the policy.
        applied_hz: as read back.
        cause: who won where they differ, in words; None where they do not.
    """

    name: str
    requested_hz: int
    applied_hz: int
    cause: str | None


@dataclass(frozen=True, slots=True)
class StepPower:
    """Power of one control step.

    Attributes:
        power_w: mean power at the board's input, W.
        duration_s: of the step.
        is_measured: False where the last measured power stands in.
        uncertainty_w: largest error of the power, W, as the energy window admits it; where the last
            power stands in, all of it.
    """

    power_w: float
    duration_s: float
    is_measured: bool
    uncertainty_w: float


class BoardSupervisor:
    """Sets and reads a board and never fails for it.

    Args:
        board: open.
        nominal_w: power shown before any was measured.
        clock: present time, s.

    Attributes:
        point: clocks as last read back, Hz.
        margin_c: distance to the board's temperature limit when it was last read, degrees C; 0
            where it has been unknown for long.
    """

    def __init__(
        self, board: Board, nominal_w: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._board, self._clock = board, clock
        self._power_w = nominal_w
        self.margin_c = 0.0
        self._began_s = clock()
        self._n_dropped_readings = 0
        self._requested: dict[str, int] = {}
        self._unset: frozenset[str] = frozenset()
        self._stale: frozenset[str] = frozenset()
        self._power = Outage(
            "measuring power",
            "the last measured power stands in",
            f"clocks stay in the lower {LOW_SHARE:.0%} of their tables until it is measured again",
            clock=clock,
        )
        self._unread = Outage(
            "reading the power sensors often enough",
            "the last measured power stands in",
            clock=clock,
        )
        self._temperature = Outage(
            "reading the temperature",
            "the last one stands in",
            "the board counts as hot until it is read again",
            clock=clock,
        )
        self._setting = Outage("setting clocks", "they stay as they are", clock=clock)
        self._reading = Outage("reading clocks back", "the last ones read stand in", clock=clock)
        self.point: OperatingPoint = {
            name: domain.available_hz[-1] for name, domain in board.domains.items()
        }

    @property
    def n_failures(self) -> Mapping[str, int]:
        """Failures since the start: single power readings, and whole steps of all else."""
        return {
            "power_readings": self._n_dropped_readings,
            "power": self._power.n_failures + self._unread.n_failures,
            "temperature": self._temperature.n_failures,
            "set_clocks": self._setting.n_failures,
            "read_clocks": self._reading.n_failures,
        }

    def begin_window(self) -> None:
        """Start measuring power."""
        self._began_s = self._clock()
        with suppress(HardwareError):  # reported when the window ends and cannot be read
            self._board.begin_window()

    def end_window(self) -> StepPower:
        """Power since `begin_window`, or the last one that could be measured."""
        try:
            energy = self._board.end_window()
        except UnreadWindowError as error:
            # A busy machine, not a broken sensor: lower clocks would make it busier yet.
            self._unread.failed(error)
            return self._standing_in()
        except HardwareError as error:
            self._power.failed(error)
            return self._standing_in()
        self._unread.worked()
        self._power.worked()
        self._n_dropped_readings += energy.n_failed
        self._power_w = energy.energy_j / energy.duration_s
        return StepPower(
            self._power_w,
            energy.duration_s,
            is_measured=True,
            uncertainty_w=energy.uncertainty_j / energy.duration_s,
        )

    def _standing_in(self) -> StepPower:
        duration_s = self._clock() - self._began_s
        return StepPower(self._power_w, duration_s, is_measured=False, uncertainty_w=self._power_w)

    def apply(self, wanted: OperatingPoint) -> None:
        """Ask for clocks; for low ones at most where power has been unknown for long.

        For none while the board's own governors have them.
        """
        if self._board.clocks_are_given_back:
            self._requested, self._unset = {}, frozenset()
            return
        self._requested = dict(wanted)
        try:
            self._board.apply({name: self._allowed_hz(name, hz) for name, hz in wanted.items()})
        except HardwareError as error:
            self._setting.failed(error)
            self._unset = frozenset(self._board.failed) or frozenset(wanted)
        else:
            self._setting.worked()
            self._unset = frozenset()

    @property
    def known_margin_c(self) -> float | None:
        """`margin_c`; None where it has been unknown for long."""
        return None if self._temperature.is_lasting else self.margin_c

    def read(self) -> None:
        """Bring `point` and `margin_c` up to date."""
        self._read_clocks()
        try:
            self.margin_c = self._board.margin_c()
        except HardwareError as error:
            self._temperature.failed(error)
            if self._temperature.is_lasting:
                self.margin_c = 0.0
        else:
            self._temperature.worked()

    def _read_clocks(self) -> None:
        """Each clock by itself: one that cannot be read must not hide what the others are."""
        board = self._board
        found: dict[str, int] = {}
        failed: dict[str, HardwareError] = {}
        if self._requested and not board.dry_run:  # in a dry run other programs set the clocks
            with suppress(HardwareError):
                board.verify()
            failed.update(board.failed)
            found = {n: a.applied_hz for n, a in board.applied.items() if n not in failed}
        for name in board.domains.keys() - found.keys() - failed.keys():
            try:
                found[name] = board.domains[name].read_hz()
            except HardwareError as error:
                failed[name] = error
        self.point = {**self.point, **found}
        self._stale = frozenset(failed)
        if failed:
            self._reading.failed("; ".join(str(error) for error in failed.values()))
        else:
            self._reading.worked()

    def clocks_in_force(self) -> list[ClockInForce]:
        """Every clock that was asked for, what it is, and why where that is not the same."""
        return [self._in_force(name, hz) for name, hz in self._requested.items()]

    def _in_force(self, name: str, requested_hz: int) -> ClockInForce:
        applied = self._board.applied.get(name)
        cause = applied.cause.value if applied is not None and applied.cause is not None else None
        if cause is None and self._allowed_hz(name, requested_hz) < requested_hz:
            cause = UNMEASURED
        if name in self._unset and self.point[name] != requested_hz:
            cause = "it could not be set"
        if name in self._stale:
            cause = "it cannot be read back"
        return ClockInForce(name, requested_hz, int(self.point[name]), cause)

    def _allowed_hz(self, name: str, freq_hz: int) -> int:
        if not self._power.is_lasting:
            return freq_hz
        points_hz = self._board.domains[name].available_hz
        return min(freq_hz, points_hz[int(LOW_SHARE * (len(points_hz) - 1))])

"""Emulated board: this machine at the speed of one that has clocks, to try everything on.

A piece of work runs here at full speed. The processor time that it took is the work; then whoever
asked for it waits until the emulated clock has done as much. So each piece takes as much longer as
its clock is lower, and what this machine loses to other programs is made up for, except where it
loses more than that. With several threads per inference the time of the calling one counts, which
waits for the others by spinning. What a GPU of this machine computes is not seen: the network has
to run on the processor.

Two clocks run two kinds of work: "gpu" the pieces of the network, "cpu" what surrounds them
(pictures, codec, messages). The machine models no board, and its power is invented.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from hw.base import Applied, Board, EnergyReading
from hw.boards.guard import ThermalGuard
from hw.boards.sim import LEAST_S, TOO_SLOW
from hw.emulated.clock import EmulatedClock
from hw.emulated.machine import CLOCKS, HEAT, HOST, NETWORK
from hw.emulated.sensor import PowerMonitor
from hw.emulated.state import SHORTEST_STEP_S, MachineState, Work
from hw.emulated.waking import WakingDelay
from hw.errors import SensorReadError, UnsupportedError
from hw.sensors.energy_meter import READINGS_PER_WINDOW, check_duration

LONGEST_SLEEP_S = 0.02
"""Whoever waits for work looks again so often, for a clock may have been set by another thread."""
ENDING_SMOOTHING = 0.1
"""Weight of the latest piece of work in the time that its accounting takes. That is work, too: some
0.3 ms per piece, which would else count at the highest clock alone."""
RAIL = "VDD_IN"


class EmulatedBoard(Board):
    """A machine of its own that this one plays; it needs no rights, and leaves nothing behind.

    There is nothing to give back after `kill -9`: all of it lives in this process. Before it is
    opened, and while its clocks are given back, its governors drive it (schedutil's law). One piece
    of work runs at a time.

    Args:
        domains: clocks to drive; both if not given.
        caps_only: what is requested caps a clock, and its governor moves it below.
        dry_run: leave the clocks to their governors, whatever is requested.
        ambient_c: temperature around it, degrees C, until `set_ambient` is called.
        seed: of what differs between two machines: gain and noise of the monitor, and the drift.
        clock: present time, s.
        sleep: waits for a number of seconds.
        busy_clock: processor time that the calling thread has used, s.

    Attributes:
        true_energy_j: what was drawn in the last energy window, which no sensor shows.

    Raises:
        UnsupportedError: it has no such clock.
    """

    name = "emulated"
    modelled = ("clocks", "power", "temperature")
    lacks_radio = True
    prepares_inputs = True

    def __init__(
        self,
        *,
        domains: Sequence[str] | None = None,
        caps_only: bool = False,
        dry_run: bool = False,
        ambient_c: float = 25.0,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        busy_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        super().__init__()
        wanted = tuple(CLOCKS) if domains is None else domains
        for name in wanted:
            if name not in CLOCKS:
                raise UnsupportedError(
                    f"board {self.name} has no clock {name!r}; use {', '.join(CLOCKS)}"
                )
        self.dry_run = dry_run
        self.domains = {name: _EmulatedDomain(self, name) for name in CLOCKS if name in wanted}
        self.power_sensors = {RAIL: _MonitoredRail(self)}
        self.thermal_zones = {_EmulatedZone.name: _EmulatedZone(self)}
        self.guard = ThermalGuard(clock=clock)
        self.true_energy_j = 0.0
        self._clock, self._sleep, self._busy_clock = clock, sleep, busy_clock
        self._lock = threading.RLock()
        self._state = MachineState(clock(), ambient_c=ambient_c, seed=seed, caps_only=caps_only)
        self._waking, self._ending_s = WakingDelay(), 0.0
        self._n_works = self._n_slow = 0
        self._window: tuple[float, float] | None = None

    @property
    def temperature_limit_c(self) -> float:
        """Temperature at which the machine begins to throttle, degrees C."""
        return HEAT.throttle_c

    @property
    def shortest_window_s(self) -> float:
        """Shortest energy window that the power monitor resolves, s."""
        return READINGS_PER_WINDOW * PowerMonitor.PERIOD_S

    @contextmanager
    def present(self) -> Iterator[MachineState]:
        """Hold the state, integrated up to now, against other threads."""
        with self._lock:
            self._state.advance(self._clock())
            yield self._state

    def begin_window(self) -> None:
        """Start measuring energy."""
        with self.present() as state:
            state.monitor.begin(state.now_s)
            self._window = state.now_s, state.energy_j

    def end_window(self) -> EnergyReading:
        """Stop measuring energy and return what the power monitor showed since `begin_window`.

        Raises:
            SensorReadError: no window was begun.
            WindowTooShortError: the power monitor cannot resolve so short a time.
        """
        with self.present() as state:
            if self._window is None:
                raise SensorReadError("no energy window of board emulated is open; begin one first")
            (start_s, start_j), self._window = self._window, None
            duration_s = state.now_s - start_s
            self.true_energy_j = state.energy_j - start_j
            energy_j, error_j, n_readings = state.monitor.end(state.now_s)
        check_duration(duration_s, self.shortest_window_s)
        mean_w = {RAIL: energy_j / duration_s}
        return EnergyReading(energy_j, duration_s, mean_w, n_readings, error_j)

    def pace(
        self, flops: float, traffic_bytes: float, kernels: float
    ) -> AbstractContextManager[object]:
        """Run a piece of the network, the body, by the clock "gpu"; its size is what it takes here.

        Raises:
            UnsupportedError: other work is running.
        """
        return self._run(NETWORK)

    def host(self) -> AbstractContextManager[object]:
        """Run work of the processor beside the network, the body, by the clock "cpu".

        Raises:
            UnsupportedError: other work is running.
        """
        return self._run(HOST)

    @contextmanager
    def _run(self, domain: str) -> Iterator[Work]:
        work, began_s = Work(domain), self._busy_clock()
        with self.present() as state:
            if state.work is not None:
                raise UnsupportedError(
                    f"board {self.name} does one piece of work at a time and is busy; wait for the "
                    "other"
                )
            state.work = work
            work_began_s = state.now_s
        due_s, ended_s = None, math.nan
        try:
            yield work
            ended_s = self._busy_clock()
            with self.present():
                work.needed_s = ended_s - began_s + self._ending_s
            due_s = self._finish(work, work_began_s)
        finally:
            with self.present() as state:
                state.work = None
        took_s = min(self._busy_clock() - ended_s, WakingDelay.MOST_S)
        self._ending_s += ENDING_SMOOTHING * (took_s - self._ending_s)
        if due_s is not None:
            self._waking.seen(self._clock() - due_s)

    @property
    def too_slow_share(self) -> float:
        """Share of the work that took longer than on the machine, for other programs ran."""
        return self._n_slow / max(self._n_works, 1)

    def _finish(self, work: Work, began_s: float) -> float | None:
        """Wait until the machine has done as much, and count work that it has done long before.

        Returns:
            When it was done; None where nobody had to wait.
        """
        has_slept = False
        while True:
            with self.present() as state:
                left_s, event_s = state.until_done_s(work), state.until_event_s()
                took_s = state.now_s - began_s
            if left_s <= 0.5 * self._waking.usual_s:
                break
            has_slept = True
            wait_s = max(left_s - self._waking.usual_s, SHORTEST_STEP_S)
            self._sleep(min(wait_s, max(event_s, SHORTEST_STEP_S), LONGEST_SLEEP_S))
        self._n_works += 1
        self._n_slow += took_s > TOO_SLOW * (took_s + left_s) + LEAST_S
        return began_s + took_s + left_s if has_slept else None

    def set_ambient(self, ambient_c: float) -> None:
        """Set the temperature around the machine, degrees C."""
        with self.present() as state:
            state.ambient_c = ambient_c

    def _give_clocks_back(self) -> None:
        """Leave them to their governors, which go on afterwards until the next request."""
        with self.present() as state:
            for clock in state.clocks.values():
                clock.give_back()

    def _acquire(self) -> None:
        """Nothing to find: a clock is taken by its first request."""

    def _release(self) -> None:
        self._window = None
        self._give_clocks_back()


class _EmulatedDomain:
    """A clock of the emulated machine."""

    def __init__(self, board: EmulatedBoard, name: str) -> None:
        self.name = name
        self.available_hz = CLOCKS[name].available_hz
        self._board = board

    def read_hz(self) -> int:
        """Read the clock in force, Hz."""
        with self._present() as clock:
            return clock.hz

    def request(self, freq_hz: int) -> Applied:
        """Request the nearest operating point; it is in force after the delay."""
        with self._board.present() as state:
            clock = state.clocks[self.name]
            if self._board.dry_run:
                return Applied(freq_hz, clock.hz)
            return clock.request(freq_hz, state.now_s)

    def verify(self) -> Applied | None:
        """Compare the last request with what the heat leaves."""
        with self._present() as clock:
            return clock.verify()

    @contextmanager
    def _present(self) -> Iterator[EmulatedClock]:
        with self._board.present() as state:
            yield state.clocks[self.name]


class _MonitoredRail:
    """The power monitor at the input.

    Attributes:
        gain_error: within so much of 1 lies its gain, which no window's uncertainty holds.
    """

    name = RAIL
    step_w, period_s = PowerMonitor.STEP_W, PowerMonitor.PERIOD_S
    gain_error = PowerMonitor.GAIN_ERROR

    def __init__(self, board: EmulatedBoard) -> None:
        self._board = board

    def read_w(self) -> float:
        """Read the mean power of the last period that is over, W."""
        with self._board.present() as state:
            return state.monitor.read_w()


class _EmulatedZone:
    """The hottest zone."""

    name = "emulated"

    def __init__(self, board: EmulatedBoard) -> None:
        self._board = board

    def read_c(self) -> float:
        """Read the temperature, degrees C."""
        with self._board.present() as state:
            return state.temperature_c

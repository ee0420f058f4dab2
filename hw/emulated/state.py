"""State of the emulated machine over time: clocks, work, energy, heat. Knows no clock of its own.

Work is counted in seconds at the highest clock. How much there is of a piece is known once it was
done for real; until then it may go on for ever.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hw.emulated.clock import EmulatedClock
from hw.emulated.machine import CLOCKS, HEAT, HOST, NETWORK
from hw.emulated.power import Activity, Drift, PowerTable
from hw.emulated.sensor import PowerMonitor

SHORTEST_STEP_S = 1e-6
"""Shortest stretch; keeps time moving whatever the rounding of the clock."""
DONE = 1.0 - 1e-9
"""Share of a piece of work that counts as all of it."""


@dataclass(slots=True)
class Work:
    """A piece of work.

    Attributes:
        domain: clock that it runs by.
        needed_s: processor time that it takes at the highest clock.
        done_s: how much of that the machine has done so far.
    """

    domain: str
    needed_s: float = math.inf
    done_s: float = 0.0

    @property
    def is_done(self) -> bool:
        """Whether all of it is done."""
        return self.done_s >= DONE * self.needed_s


class MachineState:
    """Integrates from event to event.

    Args:
        now_s: time of the initial state.
        ambient_c: temperature of the air, degrees C.
        seed: of this machine's drift, of its monitor's gain and noise.
        caps_only: requests are upper limits, below which governors choose.

    Attributes:
        now_s: time of the state.
        clocks: by name.
        work: what the machine does, if anything.
        energy_j: drawn since the initial state.
        monitor: what shows its power.
    """

    def __init__(self, now_s: float, *, ambient_c: float, seed: int, caps_only: bool) -> None:
        self.now_s, self.ambient_c = now_s, ambient_c
        self.clocks = {name: EmulatedClock(name, caps_only=caps_only) for name in CLOCKS}
        self.work: Work | None = None
        self.energy_j = 0.0
        self.monitor = PowerMonitor(seed, now_s)
        self._table, self._drift = PowerTable.shipped(), Drift(seed)
        self._nodes_c = (0.0, 0.0)

    @property
    def temperature_c(self) -> float:
        """Temperature of the hottest zone, degrees C."""
        return float(HEAT.temperature_c(self.ambient_c, *self._nodes_c))

    @property
    def activity(self) -> Activity:
        """What the machine does."""
        if self.work is None or self.work.is_done:
            return Activity.IDLE
        return Activity.NETWORK if self.work.domain == NETWORK else Activity.HOST

    @property
    def power_w(self) -> float:
        """Power drawn, W."""
        cpu_hz, gpu_hz = self.clocks[HOST].hz, self.clocks[NETWORK].hz
        drift = self._drift.factor(self.now_s)
        return drift * self._table.power_w(cpu_hz, gpu_hz, self.activity)

    def until_done_s(self, work: Work) -> float:
        """Time until some work is done at the clock in force, s; negative since it is."""
        return (work.needed_s - work.done_s) / self.clocks[work.domain].speed

    def until_event_s(self) -> float:
        """Time until a clock may change by itself, s."""
        return min(clock.until_event_s(self.now_s) for clock in self.clocks.values())

    def advance(self, until_s: float) -> None:
        """Integrate to a time."""
        while self.now_s < until_s:
            end_s = min(self.now_s + max(self._until_change_s(), SHORTEST_STEP_S), until_s)
            self._step(end_s - self.now_s, end_s)

    def _until_change_s(self) -> float:
        """Time for which power and speed stay as they are, s."""
        wait_s = min(self.until_event_s(), self.monitor.until_reading_s(self.now_s))
        if self.work is not None and not self.work.is_done:
            wait_s = min(wait_s, self.until_done_s(self.work))
        return wait_s

    def _step(self, dt_s: float, end_s: float) -> None:
        power_w, work = self.power_w, self.work
        is_working = work is not None and not work.is_done
        self.energy_j += power_w * dt_s
        self.monitor.take(power_w, dt_s, end_s)
        if work is not None:
            work.done_s += dt_s * self.clocks[work.domain].speed
        fast_c, slow_c = HEAT.step(*self._nodes_c, power_w, dt_s)
        self._nodes_c = float(fast_c), float(slow_c)
        for name, clock in self.clocks.items():
            # The processor spins while the network runs, or neither governor would see much load.
            is_busy = is_working and work is not None and name in (work.domain, HOST)
            clock.advance(dt_s, end_s, self._limit_hz(clock), is_busy=is_busy)
        self.now_s = end_s

    def _limit_hz(self, clock: EmulatedClock) -> float:
        """What the heat leaves of a clock."""
        temperature_c = self.temperature_c
        if temperature_c <= HEAT.throttle_c:
            return clock.available_hz[-1]
        lowest_hz, *_, highest_hz = clock.available_hz
        return float(HEAT.cap_hz(lowest_hz, highest_hz, temperature_c))

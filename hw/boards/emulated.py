"""Emulated board without clocks: a cgroup quota slows the processor down, power is modelled.

At an operating point of f/f_max this process gets that share of one processor, in turns of a
millisecond, so that a real pipeline takes as much longer as its work is bound by the processor.
A stretch of work within one turn escapes: 6 ms of work at half the clock took 10 ms instead of 12,
3 ms took 4 instead of 6, 1 ms took 1 (this project's machine, kernel 6.18, cgroup v1).
Power and heat come from the device model, from the clock and from the time that this process
computed; they are modelled.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from hw.base import Applied, Board, EnergyReading
from hw.device.model import DeviceModel
from hw.errors import SensorReadError
from hw.sensors.energy_meter import check_duration, shortest_modelled_window_s
from hw.session.session import Session
from hw.settings.cgroup import QuotaGroup
from hw.sysfs import Sysfs


class EmulatedBoard(Board):
    """This machine with the processor clock of a device model.

    Args:
        device: whose processor clock is emulated and whose power is modelled; its GPU idles.
        sysfs: access to the kernel's files.
        ambient_c: modelled temperature around it, degrees C.
        journal: folder of the journal; /var/lib/dvfo if not given.
        clock: present time, s.
        busy_clock: processor time that this process has used, s.
    """

    name = "emulated"
    device: DeviceModel
    modelled = ("power", "temperature")

    def __init__(
        self,
        device: DeviceModel,
        sysfs: Sysfs,
        *,
        ambient_c: float = 25.0,
        journal: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        busy_clock: Callable[[], float] = time.process_time,
    ) -> None:
        super().__init__()
        self.device = self._as_loaded = device
        self.domains = {}
        self.power_sensors = {}
        self.thermal_zones = {}
        self._state = _ModelledState(device, ambient_c, clock, busy_clock)
        self._group = QuotaGroup.of_process(sysfs)
        self._session = Session(sysfs, journal, drives_machine=False)
        self._window: tuple[float, float] | None = None

    @property
    def temperature_limit_c(self) -> float:
        """Temperature at which the modelled device begins to throttle, degrees C."""
        return self.device.thermal.throttle_c

    @property
    def shortest_window_s(self) -> float:
        """Shortest energy window that the device's power monitor would resolve, s."""
        return shortest_modelled_window_s(self.device)

    def runs(self, flops: float, traffic_bytes: float, kernels: float) -> None:
        """Give the modelled power the network's activity."""
        device = self._as_loaded
        self.device = device.running(device.network.demand(flops, traffic_bytes, kernels))
        self._state.advance()
        self._state.device = self.device

    def begin_window(self) -> None:
        """Start measuring modelled energy."""
        self._window = self._state.advance()

    def end_window(self) -> EnergyReading:
        """Return the modelled energy since `begin_window`.

        Raises:
            SensorReadError: no window was begun.
            WindowTooShortError: the device's power monitor could not resolve so short a time.
        """
        if self._window is None:
            raise SensorReadError("no energy window of board emulated is open; begin one first")
        (start_s, start_j), self._window = self._window, None
        now_s, now_j = self._state.advance()
        duration_s, energy_j = now_s - start_s, now_j - start_j
        check_duration(duration_s, self.shortest_window_s)
        mean_w = {"VDD_IN": energy_j / duration_s}
        return EnergyReading(energy_j, duration_s, mean_w, n_samples=0, uncertainty_j=0.0)

    def _acquire(self) -> None:
        self._session.begin()
        try:
            self._session.save(self._group)
            self._group.enter()
        except BaseException:
            self._session.end()
            raise
        self.domains = {"cpu": _QuotaDomain(self._state, self._group)}
        self.power_sensors = {_ModelledSensor.name: _ModelledSensor(self._state)}
        self.thermal_zones = {_ModelledZone.name: _ModelledZone(self._state)}

    def _release(self) -> None:
        self._session.end()


class _ModelledState:
    """Power, energy and heat of the device model, from the clock and the work done since."""

    def __init__(
        self,
        device: DeviceModel,
        ambient_c: float,
        clock: Callable[[], float],
        busy_clock: Callable[[], float],
    ) -> None:
        self.device = device
        self.cpu_hz = device.domains["cpu"].available_hz[-1]
        self.power_w = 0.0
        self._ambient_c = ambient_c
        self._nodes_c = (0.0, 0.0)
        self._clock, self._busy_clock = clock, busy_clock
        self._now_s, self._busy_s = clock(), busy_clock()
        self._energy_j = 0.0
        self._lock = threading.Lock()

    @property
    def share(self) -> float:
        """Share of one processor at the present clock."""
        return self.cpu_hz / self.device.domains["cpu"].available_hz[-1]

    @property
    def temperature_c(self) -> float:
        """Modelled temperature, degrees C."""
        self.advance()
        return float(self.device.thermal.temperature_c(self._ambient_c, *self._nodes_c))

    def advance(self) -> tuple[float, float]:
        """Integrate up to now; returns time and energy so far, s and J."""
        with self._lock:
            now_s, busy_s = self._clock(), self._busy_clock()
            past_s = now_s - self._now_s
            if past_s > 0:
                # Time on a real processor at the reduced clock: the quota's share is all there is.
                util = min((busy_s - self._busy_s) / (past_s * self.share), 1.0)
                self.power_w = self._power_w(util)
                self._energy_j += self.power_w * past_s
                fast_c, slow_c = self.device.thermal.step(*self._nodes_c, self.power_w, past_s)
                self._nodes_c = (float(fast_c), float(slow_c))
                self._now_s, self._busy_s = now_s, busy_s
            return now_s, self._energy_j

    def _power_w(self, util: float) -> float:
        domains = self.device.domains
        return float(
            self.device.power.total_w(
                self.cpu_hz,
                domains["gpu"].available_hz[0],
                domains["emc"].available_hz[-1],
                cpu_util=util,
                gpu_util=0.0,
                traffic_bytes_per_s=0.0,
            )
        )


class _QuotaDomain:
    """The emulated processor clock."""

    name = "cpu"

    def __init__(self, state: _ModelledState, group: QuotaGroup) -> None:
        self.available_hz = state.device.domains["cpu"].available_hz
        self._state = state
        self._group = group
        self._applied: Applied | None = None

    def read_hz(self) -> int:
        """Read the emulated clock, Hz."""
        return self._state.cpu_hz

    def request(self, freq_hz: int) -> Applied:
        """Bound the processor time to what the nearest operating point would do."""
        target_hz = min(self.available_hz, key=lambda hz: abs(hz - freq_hz))
        if target_hz != self._state.cpu_hz:
            self._state.advance()
            self._group.allow(target_hz / self.available_hz[-1])
            self._state.cpu_hz = target_hz
        self._applied = Applied(target_hz, target_hz)
        return self._applied

    def verify(self) -> Applied | None:
        """The last request: no other program changes this group."""
        return self._applied


class _ModelledSensor:
    """Modelled power at the input."""

    name = "VDD_IN"

    def __init__(self, state: _ModelledState) -> None:
        self._state = state
        self.step_w = state.device.sensor.step_w
        self.period_s = state.device.sensor.period_s

    def read_w(self) -> float:
        """Mean modelled power since the last look, W."""
        self._state.advance()
        return self._state.power_w


class _ModelledZone:
    """Modelled temperature."""

    name = "modelled"

    def __init__(self, state: _ModelledState) -> None:
        self._state = state

    def read_c(self) -> float:
        """Read the modelled temperature, degrees C."""
        return self._state.temperature_c

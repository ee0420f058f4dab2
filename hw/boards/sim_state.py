"""State of a modelled board over time: clocks, work, energy, heat. Knows no clock of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw.device.model import DOMAINS, Demand, DeviceModel, RailPower
from hw.device.units import Floats
from hw.governors.clocks import GovernedClocks

LONGEST_STEP_S = 0.5
"""Longest stretch of constant clocks, so that throttling follows the fast thermal node."""
GOVERNED_STEP_S = 1e-3
"""The same where governors move the clocks."""
SHORTEST_STEP_S = 1e-6
"""Shortest stretch; keeps time moving whatever the rounding of the clock."""
DONE = 1.0 - 1e-9
"""Progress that counts as all of the work."""


@dataclass(slots=True)
class SimWork:
    """Work that the modelled board is doing.

    Attributes:
        demand: the work, scalars.
        traffic_bytes: memory traffic of the work, bytes.
        progress: share of the work that is done, 0..1.
        modelled_s: modelled time spent on it so far, s; its latency once done.
    """

    demand: Demand
    traffic_bytes: float
    progress: float = 0.0
    modelled_s: float = 0.0

    @property
    def done(self) -> bool:
        """Whether all of the work is done."""
        return self.progress >= DONE


class SimState:
    """Integrates a device model from event to event; all quantities are modelled.

    Args:
        device: the device.
        ambient_c: temperature around it, degrees C.
        now_s: time of the initial state, s.
        is_governed: clocks move below what is requested, as the device's governors choose.

    Attributes:
        now_s: time of the state, s.
        ambient_c: temperature around the board, degrees C.
        energy_j: energy used so far by rail, J.
        work: what the board is doing, if anything.
    """

    def __init__(
        self, device: DeviceModel, ambient_c: float, now_s: float, *, is_governed: bool = False
    ) -> None:
        self.now_s = now_s
        self.ambient_c = ambient_c
        self.energy_j = dict.fromkeys(RailPower._fields, 0.0)
        self.work: SimWork | None = None
        self._device = device
        self._nodes_c = (0.0, 0.0)
        self._request_hz = {name: d.available_hz[-1] for name, d in device.domains.items()}
        self._pending: dict[str, tuple[float, int]] = {}
        self._governed: GovernedClocks | None = None
        self.govern(is_governed)

    def govern(self, is_governed: bool) -> None:
        """Let the device's governors move the clocks below what is requested, or not."""
        if not is_governed:
            self._governed = None
        elif self._governed is None:
            self._governed = GovernedClocks(self._device, self._caps_hz())

    def draw_as(self, device: DeviceModel) -> None:
        """Take another model of the same device: from now on it draws what a network does."""
        self._device = device

    @property
    def temperature_c(self) -> float:
        """Temperature of the hottest zone, degrees C."""
        return float(self._device.thermal.temperature_c(self.ambient_c, *self._nodes_c))

    @property
    def rails(self) -> RailPower:
        """Power of each rail, W."""
        cpu_hz, gpu_hz, emc_hz = self._clocks_hz()
        cpu_util = gpu_util = bytes_per_s = 0.0
        if self.work is not None and not self.work.done:
            latency_s = self._latency_s(self.work)
            cpu_s, gpu_s = self.work.demand.busy_s(cpu_hz, gpu_hz, emc_hz)
            cpu_util, gpu_util = float(cpu_s) / latency_s, float(gpu_s) / latency_s
            bytes_per_s = self.work.traffic_bytes / latency_s
        return self._device.power.rails_w(
            cpu_hz,
            gpu_hz,
            emc_hz,
            cpu_util=cpu_util,
            gpu_util=gpu_util,
            traffic_bytes_per_s=bytes_per_s,
        )

    def requested_hz(self, domain: str) -> int:
        """Clock last requested of a domain, Hz."""
        return self._pending.get(domain, (0.0, self._request_hz[domain]))[1]

    def clock_hz(self, domain: str) -> int:
        """Clock in effect, Hz."""
        return self.capped_hz(domain, self._request_hz[domain])

    def governed_hz(self, domain: str) -> int:
        """Clock in effect as the governors moved it, Hz."""
        return int(self._clocks_hz()[DOMAINS.index(domain)])

    def request(self, domain: str, freq_hz: int) -> int:
        """Request the operating point nearest to a frequency; return what it will be, Hz.

        It takes effect after the domain's delay. The thermal cap leaves the request alone.
        """
        model = self._device.domains[domain]
        target_hz = model.available_hz[int(self._device.table_index(domain, freq_hz))]
        self._pending[domain] = (self.now_s + model.actuation_delay_s, target_hz)
        return self.capped_hz(domain, target_hz)

    def start(self, work: SimWork) -> None:
        """Begin some work."""
        if self._latency_s(work) == 0.0:
            work.progress = 1.0
        self.work = work

    def until_event_s(self) -> float:
        """Time to the next change of clocks or utilisation, s."""
        longest_s = LONGEST_STEP_S if self._governed is None else GOVERNED_STEP_S
        waits_s = [longest_s, *(due_s - self.now_s for due_s, _ in self._pending.values())]
        if self.work is not None and not self.work.done:
            waits_s.append((1.0 - self.work.progress) * self._latency_s(self.work))
        return max(min(waits_s), SHORTEST_STEP_S)

    def advance(self, until_s: float) -> None:
        """Integrate to a time, from event to event."""
        while self.now_s < until_s:
            end_s = min(self.now_s + self.until_event_s(), until_s)
            self._step(end_s - self.now_s)
            self.now_s = end_s
            for domain, (due_s, target_hz) in list(self._pending.items()):
                if due_s <= end_s:
                    self._request_hz[domain] = target_hz
                    del self._pending[domain]

    def _step(self, dt_s: float) -> None:
        rails = self.rails
        for rail, watt in zip(rails._fields, rails, strict=True):
            self.energy_j[rail] += float(watt) * dt_s
        busy = (0.0, 0.0)
        if self.work is not None and not self.work.done:
            busy = (1.0, self._gpu_share(self.work))  # the host spins while the GPU works
            self.work.progress += dt_s / self._latency_s(self.work)
            self.work.modelled_s += dt_s
        if self._governed is not None:
            self._govern(self._governed, dt_s, busy)
        fast_c, slow_c = self._device.thermal.step(*self._nodes_c, rails.total_w, dt_s)
        self._nodes_c = (float(fast_c), float(slow_c))

    def capped_hz(self, domain: str, freq_hz: int) -> int:
        """Highest operating point at or below both a frequency and the thermal cap, Hz."""
        temperature_c = self.temperature_c
        if temperature_c <= self._device.thermal.throttle_c:
            return freq_hz
        cap_hz = min(float(self._device.throttled_hz_cap(domain, temperature_c)), freq_hz)
        return max(hz for hz in self._device.domains[domain].available_hz if hz <= cap_hz)

    def _govern(self, governed: GovernedClocks, dt_s: float, busy: tuple[float, float]) -> None:
        cpu, gpu = (np.full(1, share) for share in busy)
        governed.advance(dt_s, self._caps_hz(), cpu, gpu)

    def _caps_hz(self) -> list[Floats]:
        return [np.full(1, float(self.clock_hz(name))) for name in DOMAINS]

    def _clocks_hz(self) -> tuple[float, float, float]:
        caps_hz = self.clock_hz("cpu"), self.clock_hz("gpu"), self.clock_hz("emc")
        if self._governed is None:
            return caps_hz
        cpu, gpu, emc = (
            min(float(hz[0]), cap) for hz, cap in zip(self._governed.hz, caps_hz, strict=True)
        )
        return cpu, gpu, emc

    def _gpu_share(self, work: SimWork) -> float:
        return float(work.demand.busy_s(*self._clocks_hz())[1]) / self._latency_s(work)

    def _latency_s(self, work: SimWork) -> float:
        return float(self._device.latency_s(work.demand, *self._clocks_hz()))

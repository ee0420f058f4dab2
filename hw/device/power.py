"""Power of a device at given clocks and utilisation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from msgspec import structs

from common.schema import NonNegative, Positive, Table
from hw.device.units import Floats, Values


class RailPower(NamedTuple):
    """Modelled power per rail and at the input of the board, W."""

    gpu_w: Floats
    cpu_w: Floats
    soc_w: Floats
    ddr_w: Floats
    total_w: Floats


class PowerModel(Table, frozen=True):
    """Rail power: an idle level that rises with the clocks, plus what busy units add.

    A busy GPU follows `busy_w * V + busy_w_per_hz * f * V^2`, with the relative voltage V flat up
    to a knee and linear above. V was fitted, no core voltage was measured.

    Attributes:
        board_w: draw outside the four rails, W.
        board_share: input power per watt on the rails (converter loss), 1 or more.
        gpu_idle_w: GPU rail, hardly loaded, clocks towards zero, W.
        gpu_idle_w_per_hz3: its rise with the cube of the GPU clock, W/Hz^3.
        gpu_idle_w_per_emc_hz: its rise with the memory clock, W/Hz.
        gpu_busy_w: saturated GPU rail, clock towards zero, W.
        gpu_busy_w_per_hz: its rise with the GPU clock, W/Hz.
        gpu_voltage_knee_hz: clock above which the voltage rises, Hz.
        gpu_voltage_per_hz: relative voltage per clock above the knee, 1/Hz.
        cpu_idle_w: CPU rail, idle, clocks towards zero, W.
        cpu_idle_w_per_hz3: its rise with the cube of the CPU clock, W/Hz^3.
        cpu_idle_w_per_emc_hz: its rise with the memory clock, W/Hz.
        cpu_busy_w_per_hz3: what one busy core adds, W/Hz^3.
        soc_idle_w: SOC rail, memory clock towards zero, W.
        soc_w_per_emc_hz: its rise with the memory clock, W/Hz.
        soc_j_per_byte: its energy per byte of memory traffic, J.
        ddr_idle_w: DDR rail, memory clock towards zero, W.
        ddr_w_per_emc_hz: its rise with the memory clock, W/Hz.
        ddr_j_per_byte: its energy per byte of memory traffic, J.
        peak_traffic_bytes_per_s: largest traffic the fit has seen, B/s.
        cpu_busy_w_per_hz: the part of that which rises with the clock alone, its voltage at its
            lowest, W/Hz; the older fits leave it to the cube.
        wall_w: draw at the mains beside what the input draws in proportion, W: fan, carrier board.
        wall_share: power at the mains per watt at the input (loss of the supply), 1 or more.
    """

    board_w: NonNegative
    board_share: Positive
    gpu_idle_w: NonNegative
    gpu_idle_w_per_hz3: NonNegative
    gpu_idle_w_per_emc_hz: NonNegative
    gpu_busy_w: NonNegative
    gpu_busy_w_per_hz: NonNegative
    gpu_voltage_knee_hz: NonNegative
    gpu_voltage_per_hz: NonNegative
    cpu_idle_w: NonNegative
    cpu_idle_w_per_hz3: NonNegative
    cpu_idle_w_per_emc_hz: NonNegative
    cpu_busy_w_per_hz3: NonNegative
    soc_idle_w: NonNegative
    soc_w_per_emc_hz: NonNegative
    soc_j_per_byte: NonNegative
    ddr_idle_w: NonNegative
    ddr_w_per_emc_hz: NonNegative
    ddr_j_per_byte: NonNegative
    peak_traffic_bytes_per_s: NonNegative
    cpu_busy_w_per_hz: NonNegative = 0.0
    wall_w: NonNegative = 0.0
    wall_share: Positive = 1.0

    def at_activity(self, factor: float, *, on_cpu: bool) -> PowerModel:
        """The same while a network runs that draws so much of what a busy unit does.

        Args:
            factor: on what a busy GPU draws, or on what a busy core adds.
            on_cpu: which of them.
        """
        of_cpu = ("cpu_busy_w_per_hz3", "cpu_busy_w_per_hz")
        names = of_cpu if on_cpu else ("gpu_busy_w", "gpu_busy_w_per_hz")
        return structs.replace(self, **{name: factor * getattr(self, name) for name in names})

    def at_wall_w(self, input_w: Values) -> Floats:
        """Power at the mains plug, W."""
        return np.asarray(self.wall_w + self.wall_share * np.asarray(input_w))

    def rails_w(
        self,
        cpu_hz: Values,
        gpu_hz: Values,
        emc_hz: Values,
        *,
        cpu_util: Values,
        gpu_util: Values,
        traffic_bytes_per_s: Values,
    ) -> RailPower:
        """Modelled power of each rail and at the board's input, W.

        Args:
            cpu_hz: CPU clock, Hz.
            gpu_hz: GPU clock, Hz.
            emc_hz: memory clock, Hz.
            cpu_util: share of the time during which one core is busy, 0..1.
            gpu_util: share of the time during which the GPU is saturated, 0..1.
            traffic_bytes_per_s: memory traffic, B/s.
        """
        gpu_w = self._gpu_w(gpu_hz, emc_hz, gpu_util)
        cpu_w = self._cpu_w(cpu_hz, emc_hz, cpu_util)
        soc_w = np.asarray(
            self.soc_idle_w
            + self.soc_w_per_emc_hz * emc_hz
            + self.soc_j_per_byte * traffic_bytes_per_s
        )
        ddr_w = np.asarray(
            self.ddr_idle_w
            + self.ddr_w_per_emc_hz * emc_hz
            + self.ddr_j_per_byte * traffic_bytes_per_s
        )
        total_w = np.asarray(self.board_w + self.board_share * (gpu_w + cpu_w + (soc_w + ddr_w)))
        return RailPower(gpu_w, cpu_w, soc_w, ddr_w, total_w)

    def total_w(
        self,
        cpu_hz: Values,
        gpu_hz: Values,
        emc_hz: Values,
        *,
        cpu_util: Values,
        gpu_util: Values,
        traffic_bytes_per_s: Values,
    ) -> Floats:
        """The `total_w` of `rails_w` alone, the two memory rails taken as one: fewer passes."""
        memory_w = (
            (self.soc_idle_w + self.ddr_idle_w)
            + (self.soc_w_per_emc_hz + self.ddr_w_per_emc_hz) * emc_hz
            + (self.soc_j_per_byte + self.ddr_j_per_byte) * traffic_bytes_per_s
        )
        rails_w = (
            self._gpu_w(gpu_hz, emc_hz, gpu_util) + self._cpu_w(cpu_hz, emc_hz, cpu_util) + memory_w
        )
        return np.asarray(self.board_w + self.board_share * rails_w)

    def idle_w(self, cpu_hz: Values, gpu_hz: Values, emc_hz: Values) -> Floats:
        """Power at the board's input without load."""
        no_load = {"cpu_util": 0.0, "gpu_util": 0.0, "traffic_bytes_per_s": 0.0}
        return self.total_w(cpu_hz, gpu_hz, emc_hz, **no_load)

    def cpu_load_w(self, cpu_hz: Values) -> Floats:
        """What one busy core adds at the board's input."""
        busy_w = self.board_share * self.cpu_busy_w_per_hz3 * (cpu_hz * cpu_hz * cpu_hz)
        if self.cpu_busy_w_per_hz:
            busy_w = busy_w + self.board_share * self.cpu_busy_w_per_hz * cpu_hz
        return np.asarray(busy_w)

    def gpu_load_w(self, gpu_hz: Values, emc_hz: Values) -> Floats:
        """What a saturated GPU adds at the board's input, above its idle power."""
        saturated_w = self._gpu_w(gpu_hz, emc_hz, 1.0) - self._gpu_w(gpu_hz, emc_hz, 0.0)
        return np.asarray(self.board_share * saturated_w)

    @property
    def memory_j_per_byte(self) -> float:
        """Energy at the board's input per byte of memory traffic."""
        return self.board_share * (self.soc_j_per_byte + self.ddr_j_per_byte)

    def _gpu_w(self, gpu_hz: Values, emc_hz: Values, gpu_util: Values) -> Floats:
        volt = 1.0 + self.gpu_voltage_per_hz * np.maximum(gpu_hz - self.gpu_voltage_knee_hz, 0.0)
        busy_w = volt * (self.gpu_busy_w + self.gpu_busy_w_per_hz * gpu_hz * volt)
        idle_w = (
            self.gpu_idle_w
            + self.gpu_idle_w_per_hz3 * (gpu_hz * gpu_hz * gpu_hz)
            + self.gpu_idle_w_per_emc_hz * emc_hz
        )
        return np.asarray(idle_w + gpu_util * (busy_w - idle_w))

    def _cpu_w(self, cpu_hz: Values, emc_hz: Values, cpu_util: Values) -> Floats:
        cubed = cpu_hz * cpu_hz * cpu_hz
        cpu_w = (
            self.cpu_idle_w
            + self.cpu_idle_w_per_emc_hz * emc_hz
            + (self.cpu_idle_w_per_hz3 + self.cpu_busy_w_per_hz3 * cpu_util) * cubed
        )
        if self.cpu_busy_w_per_hz:
            cpu_w = cpu_w + self.cpu_busy_w_per_hz * cpu_util * cpu_hz
        return np.asarray(cpu_w)

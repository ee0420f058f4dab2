"""Latency of a piece of work on a device at given clocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from msgspec import structs

from common.schema import NonNegative, Table
from hw.device.units import Floats, Values


@dataclass(frozen=True, slots=True)
class Demand:
    """Work that a device has to do; fields are floats or arrays that broadcast.

    Latency is `fixed_s + cpu_cycles/f_cpu + ((gpu_cycles/f_gpu)^p + (emc_cycles/f_emc)^p)^(1/p)`:
    GPU and memory time overlap, host time does not. p = 2 held best on the FlexiBO
    measurements of a Jetson TX2; TensorRT engines overlap more, p up to 3.9.

    Attributes:
        fixed_s: time that no clock changes, s.
        cpu_cycles: host cycles, 1.
        gpu_cycles: GPU cycles, 1.
        emc_cycles: memory clock cycles, 1.
        overlap_norm: p above, 1 (no overlap) or more.
    """

    fixed_s: Values
    cpu_cycles: Values
    gpu_cycles: Values
    emc_cycles: Values
    overlap_norm: float = 2.0

    def scaled(self, share: Values) -> Demand:
        """Multiply the work, for example by the share of channels that stays on the device."""
        return Demand(
            fixed_s=self.fixed_s * share,
            cpu_cycles=self.cpu_cycles * share,
            gpu_cycles=self.gpu_cycles * share,
            emc_cycles=self.emc_cycles * share,
            overlap_norm=self.overlap_norm,
        )

    def busy_s(self, cpu_hz: Values, gpu_hz: Values, emc_hz: Values) -> tuple[Floats, Floats]:
        """Time during which the CPU and the GPU (with its memory) work on this, s.

        Args:
            cpu_hz: CPU clock, Hz.
            gpu_hz: GPU clock, Hz.
            emc_hz: memory clock, Hz.
        """
        cpu_s = np.divide(self.cpu_cycles, cpu_hz)
        gpu_s = np.divide(self.gpu_cycles, gpu_hz)
        emc_s = np.divide(self.emc_cycles, emc_hz)
        if self.overlap_norm == 2.0:
            return cpu_s, np.sqrt(gpu_s * gpu_s + emc_s * emc_s)
        p = self.overlap_norm
        return cpu_s, np.power(np.power(gpu_s, p) + np.power(emc_s, p), 1.0 / p)


NO_WORK = Demand(0.0, 0.0, 0.0, 0.0)


class HostScaling(Table, frozen=True):
    """Work of the processor beside the network: pictures, codec and messages.

    Attributes:
        cpu_cycles_per_request: processor cycles of every request, 1.
        cpu_cycles_per_byte: of every byte that is sent, 1/B.
    """

    cpu_cycles_per_request: NonNegative = 0.0
    cpu_cycles_per_byte: NonNegative = 0.0

    def cycles(self, sent_bytes: Values) -> Values:
        """Processor cycles of a request of which so many bytes are sent."""
        return self.cpu_cycles_per_request + self.cpu_cycles_per_byte * sent_bytes


class NetworkScaling(Table, frozen=True):
    """Work of a network that was never measured on the device: modelled, linear in its size.

    Linear, so that a network's head and tail together demand what the whole does, and what each
    piece takes besides: a call of the run-time, and tensors brought into its layout.

    Attributes:
        fixed_s_per_kernel: time that no clock changes, s.
        cpu_cycles_per_kernel: host cycles to launch a kernel.
        cpu_cycles_per_flop: host cycles per floating-point operation, where the CPU computes.
        gpu_cycles_per_kernel: GPU cycles of a kernel that computes nothing.
        gpu_cycles_per_flop: GPU cycles per floating-point operation.
        emc_cycles_per_kernel: memory cycles of a kernel that computes nothing.
        emc_cycles_per_byte: memory cycles per byte of weights and activations.
        fixed_s_per_flop: time that no clock changes per floating-point operation, s.
        fixed_s_per_byte: the same per byte of weights and activations, s.
        cpu_cycles_per_byte: host cycles per byte.
        gpu_cycles_per_byte: GPU cycles per byte.
        emc_cycles_per_flop: memory cycles per floating-point operation.
        fixed_s_per_piece: time that no clock changes, of each piece that is run, s.
        cpu_cycles_per_piece: its host cycles.
        gpu_cycles_per_piece: its GPU cycles.
        emc_cycles_per_piece: its memory cycles.
    """

    fixed_s_per_kernel: NonNegative
    cpu_cycles_per_kernel: NonNegative
    cpu_cycles_per_flop: NonNegative
    gpu_cycles_per_kernel: NonNegative
    gpu_cycles_per_flop: NonNegative
    emc_cycles_per_kernel: NonNegative
    emc_cycles_per_byte: NonNegative
    fixed_s_per_flop: NonNegative = 0.0
    fixed_s_per_byte: NonNegative = 0.0
    cpu_cycles_per_byte: NonNegative = 0.0
    gpu_cycles_per_byte: NonNegative = 0.0
    emc_cycles_per_flop: NonNegative = 0.0
    fixed_s_per_piece: NonNegative = 0.0
    cpu_cycles_per_piece: NonNegative = 0.0
    gpu_cycles_per_piece: NonNegative = 0.0
    emc_cycles_per_piece: NonNegative = 0.0

    def demand(self, flops: Values, traffic_bytes: Values, kernels: Values) -> Demand:
        """Scale a network, or a part of one, to the device.

        Args:
            flops: floating-point operations, two per multiply-add.
            traffic_bytes: bytes of weights, layer inputs and layer outputs, in float32.
            kernels: launched kernels after fusion.
        """
        linear = Demand(
            fixed_s=self.fixed_s_per_kernel * kernels
            + self.fixed_s_per_flop * flops
            + self.fixed_s_per_byte * traffic_bytes,
            cpu_cycles=self.cpu_cycles_per_kernel * kernels
            + self.cpu_cycles_per_flop * flops
            + self.cpu_cycles_per_byte * traffic_bytes,
            gpu_cycles=self.gpu_cycles_per_kernel * kernels
            + self.gpu_cycles_per_flop * flops
            + self.gpu_cycles_per_byte * traffic_bytes,
            emc_cycles=self.emc_cycles_per_kernel * kernels
            + self.emc_cycles_per_flop * flops
            + self.emc_cycles_per_byte * traffic_bytes,
        )
        more = self._per_piece
        if more == NO_WORK:
            return linear
        is_run = np.asarray(np.asarray(kernels) > 0, dtype=np.float64)
        return Demand(
            fixed_s=linear.fixed_s + more.fixed_s * is_run,
            cpu_cycles=linear.cpu_cycles + more.cpu_cycles * is_run,
            gpu_cycles=linear.gpu_cycles + more.gpu_cycles * is_run,
            emc_cycles=linear.emc_cycles + more.emc_cycles * is_run,
        )

    @property
    def _per_piece(self) -> Demand:
        return Demand(
            fixed_s=self.fixed_s_per_piece,
            cpu_cycles=self.cpu_cycles_per_piece,
            gpu_cycles=self.gpu_cycles_per_piece,
            emc_cycles=self.emc_cycles_per_piece,
        )

    def times(self, factor: float) -> NetworkScaling:
        """The same on a run-time that takes so many times as long."""
        return NetworkScaling(
            **{name: factor * value for name, value in structs.asdict(self).items()}
        )

"""How a network's time at the highest clocks divides between the clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, nnls

from hw.calibrate.networks import NetworkSize
from hw.device.latency import Demand, NetworkScaling
from hw.device.units import Floats

PRIOR = np.array([0.2, 0.1, 0.6, 0.4])
PRIOR_WEIGHT = 0.01
"""Pull towards `PRIOR`, far below the errors: three networks leave four shares undetermined."""
NOT_GPU = (0.9, 0.03, 0.3)
"""Fixed, host and memory part of what does not follow the GPU clock, the last to be added in
quadrature. The last two are assumed, so small that they hardly show where the Xaviers were measured
(memory clocks of 1331 MHz and more): without them the lowest clocks would cost no time at all."""
Slower = tuple[float, float, float]
"""Factors by which CPU, GPU and memory clocks are below the highest."""


@dataclass(frozen=True, slots=True)
class ClocksHz:
    """Clocks of a measurement, or the highest of a board, Hz."""

    cpu: float
    gpu: float
    emc: float

    def slower(self, top: ClocksHz) -> Slower:
        """Factors by which each is below the highest."""
        return top.cpu / self.cpu, top.gpu / self.gpu, top.emc / self.emc


@dataclass(frozen=True, slots=True)
class Shares:
    """Time at the highest clocks by what it follows; fixed + cpu + |(gpu, emc)| = 1."""

    fixed: float
    cpu: float
    gpu: float
    emc: float

    def ratio(self, slower: Slower) -> float:
        """Latency over that at the highest clocks.

        Args:
            slower: factors by which CPU, GPU and memory clocks are lower.
        """
        cpu, gpu, emc = slower
        return float(self.fixed + self.cpu * cpu + np.hypot(self.gpu * gpu, self.emc * emc))

    def demand(self, latency_s: float, top: ClocksHz) -> Demand:
        """Work of a network with this latency at the highest clocks."""
        return Demand(
            fixed_s=self.fixed * latency_s,
            cpu_cycles=self.cpu * latency_s * top.cpu,
            gpu_cycles=self.gpu * latency_s * top.gpu,
            emc_cycles=self.emc * latency_s * top.emc,
        )


HOST = Shares(0.0, 1.0, 0.0, 0.0)
"""All time follows the CPU clock."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A measured latency over that at the highest clocks, and how much lower the clocks were."""

    network: str
    release: str
    slower: Slower
    measured: float
    scenario: str = "SingleStream"


def gpu_share(rows: Sequence[Ratio]) -> Shares:
    """One share that does not follow the GPU clock; least squares of relative errors.

    Between the clocks that were measured it follows hardly any; `NOT_GPU` says how it divides.
    """

    def residuals(values: Floats) -> Floats:
        shares = _mixed(float(values[0]))
        return np.array([shares.ratio(row.slower) / row.measured - 1.0 for row in rows])

    return _mixed(float(least_squares(residuals, [0.3], bounds=(0.0, 1.0)).x[0]))


def _mixed(rest: float) -> Shares:
    fixed, cpu, emc = (rest * part for part in NOT_GPU)
    return normalised(fixed, cpu, 1.0 - rest, emc)


def normalised(fixed: float, cpu: float, gpu: float, emc: float) -> Shares:
    """Shares in these proportions."""
    whole = fixed + cpu + float(np.hypot(gpu, emc))
    return Shares(fixed / whole, cpu / whole, gpu / whole, emc / whole)


GPU = normalised(0.0, 0.0, 1.0, 0.1)
"""All time follows the GPU clock, but for a little of the memory's, which is assumed."""


def all_shares(rows: Sequence[Ratio]) -> Shares:
    """Shares of all clocks, common to the rows; relative least squares."""

    def residuals(values: Floats) -> Floats:
        shares = normalised(*map(float, values))
        errors = [shares.ratio(row.slower) / row.measured - 1.0 for row in rows]
        return np.concatenate([errors, PRIOR_WEIGHT * (values - PRIOR)])

    found = least_squares(residuals, PRIOR, bounds=(0.0, np.inf), xtol=1e-12, ftol=1e-12)
    return normalised(*map(float, found.x))


def sized(sizes: Sequence[NetworkSize], latencies_s: Floats, *, traffic: bool = True) -> Floats:
    """Seconds per kernel, per operation and per byte at the highest clocks, shape (3,).

    Least squares of relative errors, coefficients of 0 or more.

    Args:
        sizes: of the networks.
        latencies_s: their latencies at the highest clocks.
        traffic: whether the networks' traffic is known.
    """
    columns = np.array([columns_of(size) for size in sizes])
    if not traffic:
        columns[:, 2] = 0.0
    scale = np.maximum(columns.max(axis=0), 1.0)
    found, _ = nnls(columns / scale / latencies_s[:, None], np.ones(len(latencies_s)))
    return np.asarray(found / scale)


def columns_of(size: NetworkSize) -> Floats:
    """Kernels, operations and bytes of a network, shape (3,)."""
    return np.array([float(size.kernels), size.flops, size.traffic_bytes])


def scaling(seconds: Floats, parts: Sequence[Shares], top: ClocksHz) -> NetworkScaling:
    """Costs per kernel, operation and byte from seconds at the highest clocks.

    Args:
        seconds: per kernel, per operation and per byte, shape (3,).
        parts: what each of them follows.
        top: the highest clocks.
    """
    kernel, flop, byte = (
        part.demand(float(second), top) for part, second in zip(parts, seconds, strict=True)
    )
    return NetworkScaling(
        fixed_s_per_kernel=float(kernel.fixed_s),
        cpu_cycles_per_kernel=float(kernel.cpu_cycles),
        cpu_cycles_per_flop=float(flop.cpu_cycles),
        gpu_cycles_per_kernel=float(kernel.gpu_cycles),
        gpu_cycles_per_flop=float(flop.gpu_cycles),
        emc_cycles_per_kernel=float(kernel.emc_cycles),
        emc_cycles_per_byte=float(byte.emc_cycles),
        fixed_s_per_flop=float(flop.fixed_s),
        fixed_s_per_byte=float(byte.fixed_s),
        cpu_cycles_per_byte=float(byte.cpu_cycles),
        gpu_cycles_per_byte=float(byte.gpu_cycles),
        emc_cycles_per_flop=float(flop.emc_cycles),
    )

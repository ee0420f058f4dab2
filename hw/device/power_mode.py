"""Power modes of a device: caps on its clocks, and parts of its GPU that are switched off."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from msgspec import Meta, structs

from common.schema import Positive, Table
from hw.device.latency import Demand, NetworkScaling
from hw.device.power import PowerModel


class PowerMode(Table, frozen=True):
    """A power mode.

    Attributes:
        gpu_tpcs: texture processing clusters that stay on.
        cpu_hz: largest CPU clock, Hz.
        gpu_hz: largest GPU clock, Hz.
        emc_hz: largest memory clock, Hz.
    """

    gpu_tpcs: Annotated[int, Meta(ge=1)]
    cpu_hz: Positive
    gpu_hz: Positive
    emc_hz: Positive

    def cap_hz(self, domain: str) -> float:
        """Largest clock of a domain, Hz."""
        return float(getattr(self, f"{domain}_hz"))


def gated_network(network: NetworkScaling, active: float) -> NetworkScaling:
    """Costs on a share of the GPU: its speed is the clusters that are on times their clock."""
    units = ("kernel", "flop", "byte", "piece")
    names = [f"gpu_cycles_per_{unit}" for unit in units]
    return structs.replace(network, **{name: getattr(network, name) / active for name in names})


def gated_demand(demand: Demand, active: float) -> Demand:
    """The same of measured work."""
    return replace(demand, gpu_cycles=demand.gpu_cycles / active)


def gated_power(power: PowerModel, active: float) -> PowerModel:
    """A busy GPU draws in proportion to what of it is on."""
    return structs.replace(
        power,
        gpu_busy_w=active * power.gpu_busy_w,
        gpu_busy_w_per_hz=active * power.gpu_busy_w_per_hz,
    )

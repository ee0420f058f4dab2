"""Clocks of a device model as arrays; those with a single operating point are no axes."""

from __future__ import annotations

from dataclasses import dataclass

from envs.arrays import Floats
from envs.plant import Axis
from hw.device.model import DeviceModel

DOMAINS = ("cpu", "gpu", "emc")
"""Order of a device model's clocks, whether or not they can be set."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Effective clocks during a step, Hz."""

    cpu_hz: Floats
    gpu_hz: Floats
    emc_hz: Floats


def clock_tables(device: DeviceModel) -> tuple[Floats, Floats, Floats]:
    """Operating points of each domain in the order of `DOMAINS`, Hz ascending."""
    return device.cpu_hz, device.gpu_hz, device.emc_hz


def clock_axes(device: DeviceModel) -> tuple[Axis, ...]:
    """Action axes of the clocks that can be set."""
    return tuple(
        Axis(name, tuple(float(hz) for hz in table))
        for name, table in zip(DOMAINS, clock_tables(device), strict=True)
        if len(table) > 1
    )

"""Clocks of a device model as arrays; those with a single operating point are no axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats
from envs.plant import Axis, Indices, Layout
from hw.device.model import DOMAINS, DeviceModel


@dataclass(frozen=True, slots=True)
class Clocks:
    """Effective clocks during a step, Hz."""

    cpu_hz: Floats
    gpu_hz: Floats
    emc_hz: Floats


def grid_places(device: DeviceModel, layout: Layout, actions: Indices) -> Indices:
    """Places of actions in a grid over `DOMAINS` and routes, shape (..., 4).

    Args:
        device: whose clocks span the grid; those that are no axes of the actions are at their top.
        layout: of the actions.
        actions: shape (..., n_axes).
    """
    columns = {axis.name: k for k, axis in enumerate(layout.axes)}
    none = np.zeros(actions.shape[:-1], dtype=np.int64)
    clocks = (
        actions[..., columns[name]] if name in columns else none + (len(table) - 1)
        for name, table in zip(DOMAINS, clock_tables(device), strict=True)
    )
    return np.stack([*clocks, actions[..., -1]], axis=-1)


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

"""A measured table of a network on a TX2, to judge by what was fitted to a model of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from envs.arrays import Floats
from envs.sim.measured import MeasuredGrid
from envs.sim.sim_config import SimConfig
from hw.boards.measured_table import MeasuredTable, load
from hw.device.model import DeviceModel

DATA = Path("../shared/data")


def measured_grid(world: SimConfig, network: str) -> MeasuredGrid:
    """A table over a world's device, whose clocks are the table's.

    Power was read at the highest memory clock alone; at the others it is taken to be as far from
    the model.

    Raises:
        DeviceFileError: the measured data are not there, or damaged.
    """
    table, device = load(DATA, network), world.device
    hz = np.meshgrid(device.cpu_hz, device.gpu_hz, device.emc_hz, indexing="ij")
    whole = type(world.costs.head)(*(part[-1] for part in _parts(world)))
    modelled_s = device.latency_s(whole, *hz)
    measured_s = np.vectorize(lambda *clocks: table.latency_s[table.at(*clocks)])(*hz)
    return MeasuredGrid(measured_s / modelled_s, _busy_power(table, device, modelled_s))


def _parts(world: SimConfig) -> tuple[Floats, ...]:
    head = world.costs.head
    parts = (head.fixed_s, head.cpu_cycles, head.gpu_cycles, head.emc_cycles)
    return tuple(np.asarray(part, dtype=np.float64) for part in parts)


def _busy_power(table: MeasuredTable, device: DeviceModel, modelled_s: Floats) -> Floats:
    """Of what load adds, where it was measured; 1 elsewhere."""
    factors = np.ones_like(modelled_s)
    cpu_hz, emc_hz = float(device.cpu_hz[-1]), float(device.emc_hz[-1])
    for k, gpu_hz in enumerate(device.gpu_hz):
        rails = table.rails.get(table.at(cpu_hz, gpu_hz, emc_hz))
        if rails is None:
            continue
        idle_w, busy_w = (
            float(
                device.power.total_w(
                    *(cpu_hz, float(gpu_hz), emc_hz),
                    cpu_util=0.0,
                    gpu_util=util,
                    traffic_bytes_per_s=util * _traffic(device, modelled_s, k),
                )
            )
            for util in (0.0, 1.0)
        )
        # The processor idled at its lowest clock meanwhile.
        low_w = float(device.power.idle_w(float(DeviceModel.load("tx2").cpu_hz[0]), gpu_hz, emc_hz))
        factors[:, k] = (float(rails.total_w) - low_w) / (busy_w - idle_w)
    return factors


def _traffic(device: DeviceModel, modelled_s: Floats, k: int) -> float:
    """Bytes per second, as of the model's own fit to these readings."""
    fastest_s = float(modelled_s[-1, -1, -1])
    return device.power.peak_traffic_bytes_per_s * fastest_s / float(modelled_s[-1, k, -1])

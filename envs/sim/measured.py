"""Boards as they were measured, point by point, where a device model is only near them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from envs.arrays import Floats
from envs.scenarios.operating_conditions import ONE, UnitVariation
from envs.sim.clocks import Clocks, clock_tables
from hw.device.model import DeviceModel


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredGrid:
    """What was measured over what a device model says, at each of its operating points.

    What is finished for the cloud at raised clocks is taken to be as far off as at those held.

    Attributes:
        work: of the time of everything that is computed, shape (n_cpu, n_gpu, n_emc).
        busy_power: of what load adds to the power, of the same shape.
    """

    work: Floats
    busy_power: Floats

    def around(
        self, device: DeviceModel, clocks: Clocks, build: UnitVariation | None
    ) -> UnitVariation:
        """Differences of boards at some clocks from their model, those of the unit with them.

        Args:
            device: the model.
            clocks: in force; between two operating points the nearer one was measured.
            build: of the unit, if any.
        """
        each = zip(clock_tables(device), (clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz), strict=True)
        places = tuple(np.searchsorted((t[1:] + t[:-1]) / 2.0, hz) for t, hz in each)
        kind = clocks.gpu_hz.dtype
        work, busy = (values[places].astype(kind) for values in (self.work, self.busy_power))
        if build is None:
            one = ONE.astype(kind)
            return UnitVariation(work, one, busy, one, one)
        return replace(build, work=build.work * work, busy_power=build.busy_power * busy)

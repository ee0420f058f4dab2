"""All clocks of boards of a kind, each under its governor and below its cap."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np

from hw.device.governors import FOLLOWS_GPU, ONDEMAND, POD_SCALING, SCHEDUTIL, SIMPLE_ONDEMAND
from hw.device.model import DOMAINS, DeviceModel
from hw.device.units import Floats
from hw.governors.ondemand import Ondemand
from hw.governors.pod_scaling import PodScaling
from hw.governors.points import at_or_above
from hw.governors.schedutil import Schedutil
from hw.governors.simple_ondemand import SimpleOndemand


class GovernorLaw(Protocol):
    """Chooses the clocks of n boards by how busy each is."""

    def advance(self, dt_s: float, now_hz: Floats, cap_hz: Floats, busy: Floats) -> Floats:
        """Let some time pass; the clocks from then on, see `Schedutil.advance`."""


class FollowsGpu:
    """A memory clock in proportion to the GPU's, as Tegra's GPU driver asks for bandwidth.

    That its highest clock goes with the GPU's highest is assumed.
    """

    def __init__(self, points_hz: Floats, n: int) -> None:
        """Remember the operating points; there is no state."""
        self._points_hz = points_hz

    def advance(self, dt_s: float, now_hz: Floats, cap_hz: Floats, busy: Floats) -> Floats:
        """The clocks that go with the GPU's; `busy` is its clock over its highest one."""
        wanted_hz = busy * self._points_hz[-1]
        return np.minimum(at_or_above(self._points_hz, wanted_hz), cap_hz)


LAWS = {
    SCHEDUTIL: Schedutil,
    ONDEMAND: Ondemand,
    POD_SCALING: PodScaling,
    SIMPLE_ONDEMAND: SimpleOndemand,
    FOLLOWS_GPU: FollowsGpu,
}


class GovernedClocks:
    """Clocks of `n` boards below their caps.

    Attributes:
        hz: clocks in force of "cpu", "gpu" and "emc", arrays of shape (n,).
    """

    def __init__(
        self,
        device: DeviceModel,
        caps_hz: Sequence[Floats],
        domains: Collection[str] = DOMAINS,
    ) -> None:
        """Begin at the caps.

        Args:
            device: of all boards.
            caps_hz: of "cpu", "gpu" and "emc", operating points, arrays of shape (n,).
            domains: that governors move; the others stay at their caps.
        """
        self.hz = list(caps_hz)
        n, kind = len(caps_hz[0]), caps_hz[0].dtype
        self._tables = [t.astype(kind) for t in (device.cpu_hz, device.gpu_hz, device.emc_hz)]
        self._follows = device.governors.emc == FOLLOWS_GPU
        chosen = (device.governors.cpu, device.governors.gpu, device.governors.emc)
        self._laws: list[GovernorLaw | None] = [
            LAWS[law](table, n) if name in domains and len(table) > 1 else None
            for name, law, table in zip(DOMAINS, chosen, self._tables, strict=True)
        ]

    def advance(
        self, dt_s: float, caps_hz: Sequence[Floats], cpu_busy: Floats, gpu_busy: Floats
    ) -> None:
        """Let some time pass under constant clocks, then change them.

        Args:
            dt_s: time, a few milliseconds at most.
            caps_hz: upper limits of "cpu", "gpu" and "emc", arrays of shape (n,).
            cpu_busy: share of it during which a core ran, waiting for the GPU by spinning included.
            gpu_busy: share of it during which the GPU, or its memory, worked.
        """
        loads = [cpu_busy, gpu_busy, gpu_busy]
        for k, law in enumerate(self._laws):
            if self._follows and k == 2:
                loads[2] = self.hz[1] / self._tables[1][-1]
            now_hz = np.minimum(self.hz[k], caps_hz[k])
            self.hz[k] = now_hz if law is None else law.advance(dt_s, now_hz, caps_hz[k], loads[k])

"""Work on the board, and finishing there what the cloud did not answer, at raised clocks if faster.

A board at its lowest clocks would compute for half a second otherwise, while requests queue.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.arrays import Floats
from envs.sim.clocks import Clocks, clock_tables
from hw.device.model import Demand, DeviceModel
from partition.edge.raised_clocks import in_all, share_before


class Busy(NamedTuple):
    """Time that a piece of the network takes on the board."""

    cpu_s: Floats
    gpu_s: Floats
    total_s: Floats


class Finish(NamedTuple):
    """How the board finishes a request.

    Attributes:
        total_s: time that it takes.
        held: its parts, were the clocks not raised.
        raised: the same, were they the top ones from the beginning.
        share: of the work that is done before they are up; 1 where they are not raised.
        top: the clocks they are raised to.
    """

    total_s: Floats
    held: Busy
    raised: Busy
    share: Floats
    top: Clocks

    @property
    def cpu_s(self) -> Floats:
        """Time that the CPU is busy."""
        return in_all(self.share, self.held.cpu_s, self.raised.cpu_s)

    @property
    def gpu_s(self) -> Floats:
        """The same of the GPU."""
        return in_all(self.share, self.held.gpu_s, self.raised.gpu_s)

    @property
    def is_raised(self) -> bool:
        """Whether the clocks are raised for any of them."""
        return bool((self.share < 1.0).any())

    def busy_j(self, device: DeviceModel, clocks: Clocks, cpu_share: Floats) -> Floats:
        """Energy of the work of one of them, without what an idle board draws.

        Args:
            device: model of the board.
            clocks: held.
            cpu_share: of the CPU's power that is the network's.
        """
        held_j = _work_j(device, self.held, clocks, cpu_share)
        if not self.is_raised:
            return held_j
        return in_all(self.share, held_j, _work_j(device, self.raised, self.top, cpu_share))

    def idle_j(self, device: DeviceModel, clocks: Clocks) -> Floats:
        """Energy of one of them because an idle board draws more at raised clocks.

        Until they are down again, which takes as long as to raise them.
        """
        held_w = device.power.idle_w(clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)
        top_w = device.power.idle_w(self.top.cpu_hz, self.top.gpu_hz, self.top.emc_hz)
        lasts_s = (1.0 - self.share) * self.raised.total_s + actuation_delay_s(device)
        return np.asarray((self.share < 1.0) * lasts_s * (top_w - held_w))


def busy(demand: Demand, clocks: Clocks, slowdown: Floats, background_load: Floats) -> Busy:
    """Time that some work takes beside other programs."""
    cpu_s, gpu_s = demand.busy_s(clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)
    cpu_s, gpu_s = cpu_s * (slowdown / (1.0 - background_load)), gpu_s * slowdown
    return Busy(cpu_s, gpu_s, (demand.fixed_s + cpu_s) + gpu_s)


def finish(
    device: DeviceModel,
    demand: Demand,
    clocks: Clocks,
    top: Clocks,
    slowdown: Floats,
    background_load: Floats,
) -> Finish:
    """How the board finishes the rest of a request.

    Args:
        device: model of the board.
        demand: the rest.
        clocks: held.
        top: the highest that it may have.
        slowdown: factor on everything that it computes.
        background_load: share of the CPU that other programs take.
    """
    held, raised = (busy(demand, hz, slowdown, background_load) for hz in (clocks, top))
    share = share_before(held.total_s, raised.total_s, actuation_delay_s(device))
    return Finish(in_all(share, held.total_s, raised.total_s), held, raised, share, top)


def actuation_delay_s(device: DeviceModel) -> float:
    """Until all clocks are in force."""
    return max(domain.actuation_delay_s for domain in device.domains.values())


def top_clocks(device: DeviceModel, like: Floats) -> Clocks:
    """The highest clocks of a device, in the precision of `like`."""
    return Clocks(*(table[-1:].astype(like.dtype) for table in clock_tables(device)))


def _work_j(device: DeviceModel, work: Busy, clocks: Clocks, cpu_share: Floats) -> Floats:
    cpu_w = device.power.cpu_load_w(clocks.cpu_hz) * cpu_share
    gpu_w = device.power.gpu_load_w(clocks.gpu_hz, clocks.emc_hz)
    return np.asarray(work.cpu_s * cpu_w + work.gpu_s * gpu_w)

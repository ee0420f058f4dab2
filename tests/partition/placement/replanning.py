"""Clusters that a network is placed on again and again, and what for."""

from __future__ import annotations

import numpy as np

from partition.placement.cluster import Cluster, Device
from partition.placement.run.replan import Replanner
from partition.placement.solver.solve import PlacementObjective

WISH = PlacementObjective(time_limit_s=5.0)


def devices(n, **changes):
    fields = {"memory_bytes": 10**9, "reserve_bytes": 0, "flops_per_s": 1e7} | changes
    return tuple(Device(name=f"d{i}", **fields) for i in range(n))


def cluster(n=3, rate_bps=1e8, **changes):
    rates_bps = np.full((n, n), rate_bps)
    np.fill_diagonal(rates_bps, 0.0)
    fields = {"name": "test", "devices": devices(n), "delay_s": np.zeros((n, n))}
    return Cluster(rate_bps=rates_bps, **(fields | changes))


def shared(tiny):
    """Where one block takes longest by far: two of the three devices share its stage."""
    block_s = [0.001] * (len(tiny.cuts) - 1)
    block_s[len(block_s) // 2] = 0.1
    return cluster(devices=devices(3, flops_per_s=None, block_s=tuple(block_s)))


def pinned(tiny):
    """A planner whose first blocks are pinned to d2."""
    names = [cut.name for cut in tiny.cuts[1:]]
    return Replanner(tiny, cluster(), WISH, [f"{names[0]}..{names[3]}=d2"])


def tight(plan):
    """Latency at half the rate that a plan can keep up with."""
    return PlacementObjective(objective="latency", rate_hz=0.5 / plan.period_s, time_limit_s=5.0)


def drifted(planner, plan, busy_s):
    """What two looks find that both see the same."""
    planner.drifted(plan, busy_s)
    return planner.drifted(plan, busy_s)

"""What replicas that are not equally fast are worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from partition.placement.cluster import Cluster, Device
from partition.placement.solver.problem import build_problem
from partition.placement.solver.solve import PlacementObjective, placed_period_s, priced


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_slowest_replica_counts_whichever_is_named_first(tiny, order):
    devices = tuple(Device(name=name, memory_bytes=10**9, flops_per_s=1e7) for name in "ab")
    cluster = Cluster(
        name="two", devices=devices, rate_bps=np.zeros((2, 2)), delay_s=np.zeros((2, 2))
    )
    problem = build_problem(tiny, cluster)
    slowed = replace(problem, block_s=problem.block_s * np.array([[1.0], [1.5]]))
    placed = [(order, 0, problem.n_blocks)]
    slowest_s = 1.5 * problem.block_s[0].sum()
    plan = priced(slowed, PlacementObjective(), placed, 0.0)
    assert plan.stages[0].compute_s == pytest.approx(slowest_s)
    assert plan.period_s == plan.stages[0].period_s == pytest.approx(slowest_s / 2)
    assert placed_period_s(slowed, placed) == plan.period_s
    assert plan.latency_s == pytest.approx(slowest_s)

"""Placements on devices as fast as they were measured, against every placement."""

from __future__ import annotations

import numpy as np
import pytest
from instances import all_placements, latency, least_period, least_period_in_pairs
from msgspec import structs

from partition.placement.run.replan import Replanner
from partition.placement.solver.solve import PlacementObjective
from tests.partition.placement.replanning import cluster, devices

N = 4
LONG_S = 1e6  # tests must not depend on how busy the machine is


def some_cluster(tiny, rng, codec):
    """Four devices at most of two speeds, with and without ends."""
    block_s = rng.uniform(0.001, 0.05, len(tiny.cuts) - 1)
    unlike = tuple(
        structs.replace(
            device, flops_per_s=None, block_s=tuple(block_s * slower), codec_bytes_per_s=1e6
        )
        for device, slower in zip(devices(N), rng.choice([1.0, 2.0], N), strict=True)
    )
    return cluster(
        N,
        devices=unlike,
        rate_bps=float(rng.choice([1e6, 1e7])),
        delay_s=np.full((N, N), 0.003),
        codec=codec,
        source=int(rng.integers(N)) if rng.integers(3) else None,
        sink=int(rng.integers(N)) if rng.integers(4) == 0 else None,
    )


@pytest.mark.parametrize("codec", ["none", "int8"])
@pytest.mark.parametrize("wish", ["alone", "replicas", "latency"])
def test_a_plan_is_the_best_and_its_value_is_that_of_the_running_line(tiny, wish, codec):
    objective = "latency" if wish == "latency" else "throughput"
    asked = PlacementObjective(
        objective=objective, max_replicas=1 + (wish == "replicas"), time_limit_s=LONG_S
    )
    for seed in range(12):
        rng = np.random.default_rng(seed)
        planner = Replanner(tiny, some_cluster(tiny, rng, codec), asked)
        planner._speeds._own = {f"d{i}": float(rng.choice([1.0, 1.0, 3.0])) for i in range(N)}
        absent = {f"d{i}" for i in range(N) if rng.random() < 0.2} - planner.ends
        if len(absent) == N:
            continue
        plan, problem = planner.place(absent), planner._problem(absent)
        truth = {
            "alone": least_period,
            "replicas": least_period_in_pairs,
            "latency": lambda each: min(latency(each, s) for s in all_placements(each)),
        }[wish](problem)
        assert plan.proved, seed
        assert plan.value == pytest.approx(truth, rel=1e-9), seed
        assert planner.value(plan, absent) == pytest.approx(truth, rel=1e-9), seed

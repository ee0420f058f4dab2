"""Speeds of devices: what stages take next to what the cluster file says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from partition.placement.cluster import Cluster, Device
from partition.placement.run.device_speeds import DeviceSpeeds
from partition.placement.solver.problem import build_problem
from partition.placement.solver.solve import PlacementObjective, priced

NAMES = ("a", "b", "c", "other")


def cluster(tiny, **changes):
    """Three devices that take a tenth of a second a block, and one that takes half of that."""
    alike = {"memory_bytes": 10**9, "codec_bytes_per_s": 1e6}
    block_s = (0.1,) * (len(tiny.cuts) - 1)
    devices = [Device(name=name, block_s=block_s, **alike) for name in NAMES[:3]]
    devices.append(Device(name="other", block_s=tuple(each / 2 for each in block_s), **alike))
    rate_bps = np.full((4, 4), 1e9)
    np.fill_diagonal(rate_bps, 0.0)
    fields = {"name": "four", "delay_s": np.zeros((4, 4))} | changes
    return Cluster(devices=tuple(devices), rate_bps=rate_bps, **fields)


@pytest.fixture
def plan(tiny):
    """Two blocks on each of those that are alike."""
    problem = build_problem(tiny, cluster(tiny))
    n = problem.n_blocks
    placed = [((0,), 0, 2), ((1,), 2, 4), ((2,), 4, 6), ((3,), 6, n)]
    return priced(problem, PlacementObjective(), placed, 0.0)


def seconds(plan, **factors):
    """What stages take, as times of what the file says."""
    return {
        stage.devices[0]: factors[stage.devices[0]] * stage.compute_s
        for stage in plan.stages
        if stage.devices[0] in factors
    }


def look_twice(speeds, plan, busy_s):
    speeds.measured(plan, busy_s)
    return speeds.measured(plan, busy_s)


def test_of_two_looks_the_quicker_counts(tiny, plan):
    speeds = DeviceSpeeds(tiny, cluster(tiny))
    looks = [(1.0, ()), (3.0, ()), (1.0, ()), (3.0, ()), (3.1, ("a",)), (1.0, ("a",))]
    assert [speeds.measured(plan, seconds(plan, a=a)) for a, _ in looks] == [
        changed for _, changed in looks
    ]
    assert speeds.factors(["a"]) == [1.0]


def test_looks_at_different_stages_are_not_compared(tiny, plan):
    speeds = DeviceSpeeds(tiny, cluster(tiny))
    moved = replace(plan, stages=(replace(plan.stages[0], end=4), *plan.stages[2:]))
    assert look_twice(speeds, plan, seconds(plan, a=1.0)) == ()
    assert speeds.measured(moved, {"a": 3.0 * plan.stages[0].compute_s}) == ()
    assert speeds.measured(moved, {"a": 3.0 * plan.stages[0].compute_s}) == ("a",)


def test_devices_that_are_about_alike_count_as_alike(tiny, plan):
    speeds = DeviceSpeeds(tiny, cluster(tiny))
    assert look_twice(speeds, plan, seconds(plan, a=1.1, b=0.95, c=1.02, other=1.0)) == ()
    assert speeds.factors(NAMES).tolist() == pytest.approx([1.02, 1.02, 1.02, 1.0])


def test_one_that_is_measurably_another_is_so_until_it_recovers(tiny, plan):
    speeds = DeviceSpeeds(tiny, cluster(tiny))
    assert look_twice(speeds, plan, seconds(plan, a=1.0, b=1.0)) == ()
    assert look_twice(speeds, plan, seconds(plan, a=3.0, b=1.05)) == ("a",)
    assert speeds.factors(NAMES).tolist() == pytest.approx([3.0, 1.0, 1.0, 1.0])
    assert look_twice(speeds, plan, seconds(plan, a=3.1, b=3.3)) == ("b",)
    assert speeds.factors(NAMES).tolist() == pytest.approx([3.0, 3.0, 1.0, 1.0])
    assert speeds.measured(plan, seconds(plan, a=1.05, b=0.97)) == ("a", "b")
    assert speeds.factors(NAMES).tolist() == [1.0, 1.0, 1.0, 1.0]


def test_what_the_file_is_wrong_about_is_taken_to_be_wrong_about_all(tiny, plan):
    speeds = DeviceSpeeds(tiny, cluster(tiny))
    assert look_twice(speeds, plan, seconds(plan, a=4.0, b=4.2)) == ("a", "b")
    assert speeds.factors(NAMES).tolist() == pytest.approx([4.0, 4.0, 4.0, 4.0])


def test_a_stage_without_work_says_nothing(tiny, plan):
    idle = (0.0,) * (len(tiny.cuts) - 1)
    devices = tuple(structs.replace(device, block_s=idle) for device in cluster(tiny).devices)
    speeds = DeviceSpeeds(tiny, replace(cluster(tiny), devices=devices))
    assert look_twice(speeds, plan, seconds(plan, a=1.0, b=1.0)) == ()
    assert speeds.factors(NAMES).tolist() == [1.0] * 4


@pytest.mark.parametrize("source", [None, 0, 1])
def test_like_is_compared_with_like_whatever_the_source_encodes(tiny, source):
    """A stage's process decodes the input on the source, too, and never encodes it."""
    slow_codec = cluster(tiny, codec="int8", source=source)
    problem = build_problem(tiny, slow_codec)
    input_s = tiny.cuts[0].coded_bytes / 1e6
    cut_s = tiny.cuts[3].coded_bytes / 1e6
    assert input_s > 0.01
    placed = [((0,), 0, 3), ((1,), 3, problem.n_blocks)]
    plan = priced(problem, PlacementObjective(), placed, 0.0)
    work_s = 0.1 * (problem.n_blocks - 3)
    busy_s = {"a": input_s + 0.3 + cut_s, "b": cut_s + work_s}
    speeds = DeviceSpeeds(tiny, slow_codec)
    assert look_twice(speeds, plan, busy_s) == ()
    assert speeds.factors(NAMES).tolist() == pytest.approx([1.0] * 4)

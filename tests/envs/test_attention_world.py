"""A simulated board with a network whose accuracy was measured per route."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from partition.model.accuracy_table import AccuracyRow, AccuracyTable
from partition.model.attention_files import Attention, TrainedCut
from partition.model.cost import Cost

SCORES, BRANCH = Cost(2_000, 400, 4_000, 8), Cost(50_000, 8_000, 40_000, 18)


def row(point, xi, bits, accuracy, wire_bytes):
    branch = SCORES.flops + BRANCH.flops if xi < 1 and not point.is_output else 0
    channels = point.shapes[0][1]
    return AccuracyRow(
        split=point.name,
        xi=xi,
        bits=bits,
        accuracy=accuracy,
        low=accuracy - 0.01,
        high=accuracy + 0.01,
        validation_accuracy=accuracy,
        edge_weight=1 - xi,
        channels=channels,
        sent_channels=int(xi * channels),
        wire_bytes=wire_bytes,
        float32_bytes=point.float32_bytes,
        edge_flops=point.head.flops + branch,
        cloud_flops=0 if xi == 0 else point.tail.flops,
    )


@pytest.fixture(scope="module")
def folder(tiny):
    """The tiny network with attention at its second cut: what a table says, no graphs."""
    first, last = tiny.split_points[1], tiny.split_points[-1]
    rows = (
        row(first, 0.0, 8, 0.70, 0),
        row(first, 0.5, 8, 0.85, first.wire_bytes // 2),
        row(first, 0.5, 4, 0.85, first.wire_bytes // 4),
        row(first, 1.0, 8, 0.89, first.wire_bytes),
        row(last, 0.0, 8, 0.90, 0),
    )
    table = AccuracyTable(tiny.name, tiny.fingerprint, "made up", "none", 100, 100, 0.9, 0.9, rows)
    attention = Attention(table, {first.name: TrainedCut(SCORES, BRANCH)})
    agreements = (1.0,) * len(tiny.split_points)
    return replace(tiny, attention=attention, fidelity=agreements, measure="top-1")


@pytest.fixture(scope="module")
def world(folder):
    return replace(build_sim_config("tx2", folder, ["steady-wifi"]), n_steps=8)


def test_the_last_axis_counts_routes(world, folder):
    names = [option.name for option in folder.routes]
    assert f"{names[1]}/xi0.5/int4" == names[2]
    assert f"{names[1]}/xi0.5" not in names  # twice the bytes for nothing
    assert len(world.layout.axes[-1].values) == len(names) == len(folder.split_points) + 2
    assert world.cut_list_fingerprint != folder.plain.cut_list_fingerprint


# The first moments of a step still run as the step before: accuracies are told to a thousandth.
def outcome_of(world, name, folder):
    boards = BatchedSimulator(world, 2)
    boards.reset(np.arange(2, dtype=np.uint64))
    route = [option.name for option in folder.routes].index(name)
    action = [len(axis.values) - 1 for axis in world.layout.axes[:-1]] + [route]
    return boards.step(np.tile(np.array(action, np.int64), (2, 1)))


@pytest.mark.parametrize(
    ("suffix", "accuracy"), [("", 0.89), ("/xi0.5/int4", 0.85), ("/xi0", 0.70)]
)
def test_a_route_has_the_accuracy_of_its_row(world, folder, suffix, accuracy):
    name = folder.split_points[1].name + suffix
    outcome = outcome_of(world, name, folder)
    assert outcome.accuracy == pytest.approx(accuracy, abs=1e-3)
    sent = next(option.wire_bytes for option in folder.routes if option.name == name)
    assert outcome.uplink_bytes == pytest.approx(sent, rel=1e-3)
    assert outcome_of(world, "output", folder).accuracy == pytest.approx(0.9, abs=1e-3)


def test_a_light_branch_is_work_of_the_board(world, folder):
    route = [o.name for o in folder.routes].index(f"{folder.split_points[1].name}/xi0")
    worked = folder.split_points[1].head.flops + SCORES.flops + BRANCH.flops
    whole = folder.split_points[-1].head.flops
    assert world.costs.edge_share[route] == pytest.approx(worked / whole)
    assert world.costs.tail_flops[route] == world.costs.wire_bytes[route] == 0
    assert world.costs.head.gpu_cycles[route] > world.costs.head.gpu_cycles[1]


def test_a_late_cloud_leaves_the_accuracy_of_the_light_branch(world, folder):
    costs = world.costs
    never = replace(world, costs=replace(costs, tail_flops=costs.tail_flops + 1e15))
    first = folder.split_points[1].name
    late = outcome_of(never, f"{first}/xi0.5/int4", folder)
    assert (late.fell_back == 1).all()
    assert late.accuracy == pytest.approx(0.70, abs=1e-3)
    assert outcome_of(never, first, folder).accuracy == pytest.approx(0.90, abs=1e-3)


def test_the_smallest_measured_share_of_appeals_is_known(folder, tiny):
    appeals = {"a": {"share_of_appeals": 0.3}, "b": {"share_of_appeals": 0.2}}
    attention = replace(
        folder.attention, table=structs.replace(folder.attention.table, appeals=appeals)
    )
    world = build_sim_config("tx2", replace(folder, attention=attention), ["steady-wifi"])
    assert world.appeal_share == 0.2
    assert build_sim_config("tx2", folder, ["steady-wifi"]).appeal_share is None
    assert build_sim_config("tx2", tiny, ["steady-wifi"]).appeal_share is None

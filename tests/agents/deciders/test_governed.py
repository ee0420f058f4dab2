"""Rules that leave the clocks to the stock governors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.baselines.appealnet import AppealNet
from agents.baselines.cut_times import CutTimes
from agents.baselines.dynamic_split import DynamicSplitting
from agents.baselines.neurosurgeon import Neurosurgeon
from agents.deciders.governor import FixedRoute, Governed, GovernorModel
from agents.deciders.nominal import NominalModel, read_clocks
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.split_costs import SplitCosts
from envs.spaces import ObservationEncoder, observation_fields

SEEDS = np.arange(3, dtype=np.uint64)


@pytest.fixture
def known(world) -> NominalModel:
    return NominalModel.of(world)


@pytest.fixture
def readings(world):
    return BatchedSimulator(world, 3).reset(SEEDS)


def governed(world, readings, *, busy: float, indices: tuple[int, ...]) -> list[int]:
    tables = [axis.values for axis in world.layout.axes[:-1]]
    clocks_hz = [[table[i] for table, i in zip(tables, indices, strict=True)]]
    seen = replace(readings.select(slice(1)), busy=np.array([busy]), clocks_hz=np.array(clocks_hz))
    return GovernorModel(NominalModel.of(world)).clocks(seen)[0].tolist()


def test_governor_lowers_all_clocks_when_idle(world, readings):
    assert governed(world, readings, busy=0.0, indices=(11, 12, 7)) == [0, 0, 0]


def test_governor_raises_all_clocks_under_full_load(world, readings):
    assert governed(world, readings, busy=1.0, indices=(5, 5, 3)) == [11, 12, 7]
    assert governed(world, readings, busy=1.0, indices=(11, 12, 7)) == [11, 12, 7]


def test_governor_asks_for_headroom_on_the_cpu_and_a_target_load_on_the_gpu(world, readings, known):
    cpu, gpu, emc = (np.array(axis.values) for axis in world.layout.axes[:-1])
    after = governed(world, readings, busy=0.55, indices=(8, 8, 7))
    assert cpu[after[0]] == cpu[cpu >= 1.25 * 0.55 * cpu[8]][0]
    # Of a whole inference, the GPU works this share; the host thread spins meanwhile.
    whole = SplitCosts.from_rows(known.costs.rows()[:, -1]).head
    cpu_s, gpu_s = whole.busy_s(cpu[8], gpu[8], emc[7])
    part = gpu_s / (whole.fixed_s + cpu_s + gpu_s)
    assert 0.0 < part < 1.0
    assert gpu[after[1]] == gpu[gpu >= part * 0.55 / 0.7 * gpu[8]][0]


def test_governed_rule_combines_both(world, known):
    fleet = BatchedSimulator(world, 3)
    encoder = ObservationEncoder(observation_fields(world.layout))
    observations = encoder.encode(fleet.reset(SEEDS))
    rule = Governed(known, FixedRoute(2))
    rule.begin(fleet, 3)
    # Nothing was computed yet, so that the governors see an idle board.
    np.testing.assert_array_equal(rule.decide(observations), [[0, 0, 0, 2]] * 3)


def test_governed_rule_chooses_the_route_alone_where_no_clock_is_an_axis(world, known, readings):
    layout = replace(world.layout, axes=world.layout.axes[-1:])
    rule = Governed(replace(known, layout=layout), FixedRoute(4))
    observations = ObservationEncoder(observation_fields(layout)).encode(
        replace(readings, clocks_hz=np.empty((3, 0)))
    )
    np.testing.assert_array_equal(rule.decide(observations), [[4]] * 3)


def test_clocks_that_are_no_axes_are_taken_at_their_top(world, known, readings):
    layout = replace(world.layout, axes=(world.layout.axes[1], world.layout.axes[-1]))
    seen = replace(readings, clocks_hz=readings.clocks_hz[:, 1:2] / 2.0)
    clocks = read_clocks(replace(known, layout=layout), seen)
    np.testing.assert_array_equal(clocks.cpu_hz, [world.device.cpu_hz[-1]] * 3)
    np.testing.assert_array_equal(clocks.gpu_hz, [world.device.gpu_hz[-1] / 2.0] * 3)


@pytest.fixture
def conditions(readings):
    """Fast link and idle server, dead link, fast link and loaded server."""
    return replace(
        readings,
        link_bps=np.array([1e9, 1e4, 1e9]),
        rtt_s=np.full(3, 1e-4),
        server_idle=np.array([1.0, 1.0, 1e-6]),
    )


def test_predicted_time_by_hand(world, known, conditions):
    times = CutTimes(known)
    total_s = times.total_s(conditions)
    hz = [float(table[-1]) for table in (world.device.cpu_hz, world.device.gpu_hz)]
    head_s = world.device.latency_s(known.costs.head, *hz, float(world.device.emc_hz[-1]))
    cut = 1
    sent_s = known.costs.wire_bytes[cut] * 8.0 / 1e4
    cloud_s = known.costs.tail_flops[cut] / conditions.server_flops_per_s[1]
    assert total_s[1, cut] == pytest.approx(head_s[cut] + sent_s + 1e-4 + cloud_s)
    np.testing.assert_allclose(total_s[:, -1], head_s[-1])


@pytest.mark.parametrize("goal", ["latency", "energy"])
def test_neurosurgeon_takes_the_least_of_all_cuts(known, conditions, goal):
    times, routes = CutTimes(known), Neurosurgeon(known, goal).routes(conditions)
    if goal == "latency":
        np.testing.assert_array_equal(routes, times.total_s(conditions).argmin(axis=1))
        assert routes[1] == routes[2] == len(known.costs.wire_bytes) - 1
    else:
        joules = times.head_j + times.send_s(conditions) * conditions.radio_w[:, None]
        np.testing.assert_array_equal(routes, joules.argmin(axis=1))
        assert (routes[0], routes[1]) == (0, len(known.costs.wire_bytes) - 1)


def test_dynamic_split_cuts_at_natural_bottlenecks_only(known, conditions):
    sent = known.costs.wire_bytes
    last = len(sent) - 1
    every_link = replace(
        conditions.select(slice(1)).__class__(
            *(np.repeat(getattr(conditions, f)[:1], 60, axis=0) for f in conditions.__slots__)
        ),
        link_bps=np.geomspace(1e4, 1e10, 60),
    )
    routes = DynamicSplitting(known).routes(every_link)
    assert routes[0] == last
    allowed = {0, *np.flatnonzero(sent < sent[0])}
    assert set(routes) <= allowed
    total_s = CutTimes(known).total_s(every_link)
    for board, route in enumerate(routes):
        assert total_s[board, route] == min(total_s[board, list(allowed)])


def test_rules_that_know_nothing_of_accuracy_avoid_routes_that_lose_it(known, conditions):
    accuracy = np.ones(len(known.costs.wire_bytes))
    best = int(Neurosurgeon(known, "energy").routes(conditions)[0])
    accuracy[best] = 0.98
    poorer = replace(known, costs=replace(known.costs, accuracy=accuracy))
    assert (Neurosurgeon(poorer, "energy").routes(conditions) != best).all()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.25, 1.0])
def test_appeals_take_their_share_of_steps_evenly(readings, share):
    rule = AppealNet(edge_route=4, appeal_route=0, share=share)
    rule.begin(3)
    appeals = [bool((rule.routes(readings) == 0).all()) for _ in range(20)]
    assert sum(appeals) == pytest.approx(20 * share, abs=1)
    rule.begin(3)
    assert [bool((rule.routes(readings) == 0).all()) for _ in range(20)] == appeals

"""Rules that leave the clocks to the stock governors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.baselines.appealnet import AppealNet
from agents.baselines.cut_times import CutTimes
from agents.baselines.dynamic_split import DynamicSplitting
from agents.baselines.neurosurgeon import Neurosurgeon
from agents.deciders.governor import FixedRoute, Routed
from agents.deciders.nominal import NominalModel, read_clocks
from agents.errors import NotSimulatedError
from agents.evaluation.episodes import run_episodes
from agents.registry import UNLEARNED
from envs.sim.batched_simulator import BatchedSimulator
from envs.spaces import ObservationEncoder, observation_fields

SEEDS = np.arange(3, dtype=np.uint64)


@pytest.fixture
def known(world) -> NominalModel:
    return NominalModel.of(world)


@pytest.fixture
def readings(world):
    return BatchedSimulator(world, 3).reset(SEEDS)


def test_a_rule_for_routes_runs_at_the_highest_clocks(world, known):
    fleet = BatchedSimulator(world, 3)
    encoder = ObservationEncoder(observation_fields(world.layout))
    observations = encoder.encode(fleet.reset(SEEDS))
    rule = Routed(known, FixedRoute(2))
    rule.begin(fleet, 3)
    np.testing.assert_array_equal(rule.decide(observations), [[11, 12, 7, 2]] * 3)


def test_a_rule_chooses_the_route_alone_where_no_clock_is_an_axis(world, known, readings):
    layout = replace(world.layout, axes=world.layout.axes[-1:])
    rule = Routed(replace(known, layout=layout), FixedRoute(4))
    observations = ObservationEncoder(observation_fields(layout)).encode(
        replace(readings, clocks_hz=np.empty((3, 0)))
    )
    np.testing.assert_array_equal(rule.decide(observations), [[4]] * 3)


def test_each_router_comes_under_governors_and_at_the_highest_clocks(world):
    world = replace(world, n_steps=20)
    for name in ("neurosurgeon", "dynamic-split", "appealnet"):
        governed, at_top = (UNLEARNED.fit(key, world, 0) for key in (name, f"max-{name}"))
        assert (governed.rule.leaves_clocks, at_top.rule.leaves_clocks) == (True, False)
        slow, fast = (run_episodes(world, fitted.decider, SEEDS) for fitted in (governed, at_top))
        assert slow.energy_j.mean() < fast.energy_j.mean()


def test_governors_are_modelled_on_simulated_boards_alone(world):
    decider = UNLEARNED.fit("governor", world, 0).decider
    with pytest.raises(NotSimulatedError, match="UnderGovernors"):
        decider.begin(object(), 1)


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


def test_appeals_that_take_longer_take_their_share_of_requests(readings):
    """Back to back a step with appeals answers fewer requests than one without."""
    rule = AppealNet(edge_route=4, appeal_route=0, share=0.2)
    n = len(readings.arrival_hz)
    rule.begin(n)
    answered, appealed = np.zeros(n), np.zeros(n)
    rate_hz = np.full(n, 20.0)
    for _ in range(2000):
        appeals = rule.routes(replace(readings, arrival_hz=rate_hz)) == 0
        rate_hz = np.where(appeals, 0.5, 20.0)
        answered += rate_hz
        appealed += rate_hz * appeals
    assert appealed / answered == pytest.approx(np.full(n, 0.2), rel=0.05)

"""Rivals that control clocks by search, feedback or a closed form."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from agents.baselines.closed_form import ClosedForm
from agents.baselines.coordinate_descent import coordinate_descent
from agents.baselines.measure import measure
from agents.baselines.two_points import FASTEST, TWO_POINTS, TwoPoints, _hull
from agents.deciders.nominal import NominalModel
from agents.deciders.rule import Rule
from agents.evaluation.episodes import run_episodes
from agents.registry import UNLEARNED
from agents.rules import KINDS
from agents.seeds import seeds_for
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from envs.spaces import ObservationEncoder, observation_fields

SEEDS = seeds_for(99, 0, 4)


def test_coordinate_descent_ends_where_no_axis_improves(swinging):
    action, steps = coordinate_descent(swinging, SEEDS)
    sizes = [len(axis.values) for axis in swinging.layout.axes]
    neighbours = [
        (*action[:axis], value, *action[axis + 1 :])
        for axis, size in enumerate(sizes)
        for value in range(size)
    ]
    costs = measure(swinging, np.array([action, *neighbours]), SEEDS).cost.mean(axis=(0, 2))
    assert costs[0] <= costs.min() + 1e-12
    rounds = steps / (sum(sizes) * len(SEEDS) * swinging.n_steps)
    assert rounds == int(rounds)
    assert 2 <= rounds <= 5


@pytest.mark.parametrize("seed", range(20))
def test_a_hull_mixes_as_cheaply_as_the_best_pair(seed):
    draw = np.random.default_rng(seed)
    slowness, power_w = draw.uniform(1.0, 9.0, 12), draw.uniform(1.0, 9.0, 12)
    hull = _hull(slowness, power_w, np.arange(12)[:, None])
    kept = hull.actions[:, 0]
    assert (np.diff(hull.slowness) > 0.0).all()
    assert power_w[kept[-1]] == power_w.min()
    for wanted in np.linspace(hull.slowness[0], hull.slowness[-1], 9):
        mine = np.interp(wanted, hull.slowness, power_w[kept])
        pairs = [
            np.interp(wanted, slowness[[a, b]], power_w[[a, b]])
            for a in range(12)
            for b in range(12)
            if slowness[a] <= wanted <= slowness[b]
        ]
        assert mine <= min(pairs) + 1e-9


def two_points(world, goal, route=-1):
    n_routes = len(world.route_names)
    return Rule(TWO_POINTS, {"route": route % n_routes, "goal": goal}).simulated(world)


def test_two_points_hold_their_goal(build):
    """The whole network on the board, between what the lowest and the highest clocks take."""
    world = build("goal")
    ends_s = [_latency_s(world, rule("static", action=[k, k, k, 4])) for k in (0, 2)]
    wanted_s = 0.5 * sum(ends_s)
    goal = wanted_s / 0.1  # of the target of 100 ms
    assert _latency_s(world, two_points(world, goal)) == pytest.approx(wanted_s, rel=0.05)


def rule(name, **parameters):
    return lambda world: Rule(KINDS[name], parameters).simulated(world)


def _latency_s(world, decider):
    """Mean of the second half of an episode."""
    decider = decider(world) if callable(decider) else decider
    steps_s = run_episodes(world, decider, SEEDS[:1]).steps_s
    return float(steps_s[:, world.n_steps // 2 :].mean())


def test_two_points_take_turns(build):
    world = build("turns")
    decider = two_points(world, 0.5)
    fleet = BatchedSimulator(world, 1)
    fleet.reset(SEEDS[:1])
    decider.begin(fleet, 1)
    hull = decider._hull(len(world.route_names) - 1, 10.0)
    middle = 0.75 * hull.slowness[0] + 0.25 * hull.slowness[1]
    taken = [tuple(decider._point(hull, 0, middle)) for _ in range(40)]
    assert {*taken} == {tuple(hull.actions[0]), tuple(hull.actions[1])}
    assert taken.count(tuple(hull.actions[0])) == 30
    assert any(a != b for a, b in pairwise(taken))


def test_the_fastest_route_is_that_of_split_computing(build):
    slow, fast = build("slow-link", rate_mbps="0.01"), build("fast-link", rate_mbps="5000.0")
    last = len(slow.route_names) - 1
    for world, expected in ((slow, {last}), (fast, {0, *range(last)})):
        decider = TwoPoints(NominalModel.of(world), FASTEST, 0.8)
        fleet = BatchedSimulator(world, 2)
        _drive(fleet, decider, 6)
        assert set(fleet._action[:, -1].tolist()) <= expected


def _drive(fleet, decider, n_steps):

    encoder = ObservationEncoder(observation_fields(fleet.layout))
    readings = fleet.reset(SEEDS[: fleet.n])
    decider.begin(fleet, fleet.n)
    for _ in range(n_steps):
        fleet.step(decider.decide(encoder.encode(readings)))
        readings = fleet.readings()


def test_closed_form_is_where_its_model_costs_least():
    """Any clock moved by a tenth from the point on the ray costs more energy, on every route."""
    form = ClosedForm(NominalModel.of(build_sim_config("tx2", scenarios=["steady-wifi"])), 1.0)
    best = form._ray * (form._rest_w / (2.0 * form._cube)) ** (1.0 / 3.0)

    def energy_j(hz):
        power_w = form._rest_w + (form._cubic[:, None] * hz**3).sum(axis=0)
        return power_w * (form._work / hz).sum(axis=0)

    computes = form._work[0] > 1.0
    for domain in range(3):
        for factor in (0.9, 1.1):
            moved = best.copy()
            moved[domain] *= factor
            assert (energy_j(moved) > energy_j(best))[computes].all()


def test_a_tight_deadline_raises_the_clocks_of_a_closed_form():
    world = build_sim_config("tx2", scenarios=["dying-link"], eta=1.0)  # energy alone counts
    sums = []
    for margin in (0.3, 1.0):
        fleet = BatchedSimulator(world, 2)
        _drive(fleet, ClosedForm(NominalModel.of(world), margin), 6)
        sums.append(int(fleet._action[:, :-1].sum()))
    assert sums[0] > sums[1]


@pytest.mark.parametrize("name", ["two-points", "coordinate-descent", "bayes-15"])
def test_rivals_beat_maximum_clocks(swinging, name):
    rival = UNLEARNED.fit(name, swinging, 0)
    rivals = [UNLEARNED.fit(key, swinging, 0) for key in ("max-edge", "max-cloud")]
    mine, *others = (run_episodes(swinging, f.decider, SEEDS).cost.mean() for f in (rival, *rivals))
    assert mine < min(others)
    assert json.dumps(rival.rule.parameters)


def test_advice_is_the_default_policy_before_it_learns(swinging):
    rule = UNLEARNED.fit("advice", swinging, 0).rule
    assert rule.kind.name == "advised"
    decider = rule.build(NominalModel.of(replace(swinging, n_steps=4)))
    fleet = BatchedSimulator(swinging, 2)
    _drive(fleet, decider, 3)
    assert np.allclose(decider.log_costs, decider.advice.log_costs)

"""What searches find on a small world, against exhaustive search."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from agents.baselines.bayes import N_TRIALS, bayes
from agents.baselines.dynasplit import DynaSplit, PublishedDynaSplit
from agents.baselines.front_search import published_front, seeded_front
from agents.baselines.measure import measure
from agents.baselines.model_search import ModelSearch, SearchSettings
from agents.baselines.rollout import mean_cost
from agents.baselines.tune_search import tune_search
from agents.deciders.nominal import Actions, NominalModel, every_action, faithful_routes
from agents.deciders.nominal_outcome import SafetyMargin, expect
from agents.deciders.oracle import Oracle, cost_table
from agents.deciders.pareto import undominated, useful_actions
from agents.deciders.static import Static
from agents.seeds import seeds_for
from envs.sim.batched_simulator import EXPECTED_SLOWDOWN, BatchedSimulator
from envs.sim.effects import EFFECTS, Effects
from envs.spaces import ObservationEncoder, observation_fields

SEEDS = seeds_for(99, 0, 4)
SIZES = (3, 3, 3, 5)


@pytest.fixture(scope="module")
def exhaustive(swinging) -> dict[tuple[int, ...], float]:
    """Mean cost of every fixed action."""
    series = measure(swinging, every_action(swinging.layout), SEEDS)
    means = series.cost.mean(axis=(0, 2))
    return dict(zip(product(*map(range, SIZES)), means.tolist(), strict=True))


def test_measuring_side_by_side_equals_one_after_the_other(swinging, exhaustive):
    for action in ((0, 0, 0, 0), (2, 1, 2, 4), (1, 2, 0, 3)):
        alone = mean_cost(swinging, Static(action), SEEDS)
        assert exhaustive[action] == pytest.approx(alone)


def test_bayes_finds_the_optimum_within_3_percent(swinging, exhaustive):
    action, steps = bayes(swinging, SEEDS, 0)
    assert exhaustive[action] <= 1.03 * min(exhaustive.values())
    assert steps == N_TRIALS * len(SEEDS) * swinging.n_steps


def test_undominated_by_hand():
    criteria = np.array([[1.0, 5.0], [2.0, 4.0], [2.0, 6.0], [3.0, 1.0], [1.0, 5.0]])
    assert sorted(undominated(criteria)) == [0, 1, 3]


def test_no_state_makes_a_useless_action_the_best(swinging):
    """Cost of the useful ones reaches the optimum of all under many links, rates and targets."""
    known = NominalModel.of(swinging)
    useful = useful_actions(known)
    every = every_action(swinging.layout)
    assert 0 < len(useful) < len(every)
    readings = many_readings(swinging)
    held = np.zeros((len(readings.eta), 4), dtype=np.int64)

    def least(indices):
        outcome = expect(known, Actions(known, indices), readings, held, SafetyMargin())
        outcome = replace(outcome, switched=np.zeros(1))
        alone = np.broadcast_to(outcome.fell_back == 0.0, (len(readings.eta), len(indices)))
        cost = known.objective.cost(outcome, readings.eta[:, None])
        return np.where(alone, cost, np.inf).min(axis=1)

    np.testing.assert_allclose(least(useful), least(every), rtol=1e-5)


def many_readings(world, n: int = 200):
    fleet = BatchedSimulator(world, n)
    readings = fleet.reset(np.arange(n, dtype=np.uint64))
    generator = np.random.default_rng(0)
    return replace(
        readings,
        link_bps=10.0 ** generator.uniform(5, 9, n),
        arrival_hz=10.0 ** generator.uniform(0, 1.8, n),
        latency_target_s=10.0 ** generator.uniform(-2, 0, n),
        eta=generator.uniform(0, 1, n),
        backlog=generator.uniform(0, 4, n),
    )


def test_expectation_equals_the_truth_where_nothing_is_hidden(build):
    """With all effects off, readings and nominal model tell the cost of every action exactly."""
    plain = replace(build("plain"), effects=Effects.without(EFFECTS))
    fleet, held = BatchedSimulator(plain, 1), np.array([[1, 2, 0, 4]])
    fleet.reset(SEEDS[:1])
    fleet.step(held)
    known, readings = NominalModel.of(plain), fleet.readings()
    actions = Actions(known, every_action(plain.layout))
    expected = expect(known, actions, readings, held, SafetyMargin(time_margin=EXPECTED_SLOWDOWN))
    expected = replace(expected, switched=np.zeros(1))
    cost = known.objective.cost(expected, readings.eta[:, None])
    np.testing.assert_allclose(cost, cost_table(fleet, slice(0, 1)).reshape(1, -1), rtol=1e-5)


def test_model_search_reaches_the_known_optimum_where_nothing_changes(calm):
    search = mean_cost(calm, ModelSearch(NominalModel.of(calm), SearchSettings()), SEEDS)
    assert search <= 1.03 * mean_cost(calm, Oracle(), SEEDS)


def test_model_search_goes_its_way_where_the_link_is_seen_late(swinging, exhaustive):
    """An idle link is probed once a second, and changes as fast: the oracle is out of reach."""
    search = mean_cost(swinging, ModelSearch(NominalModel.of(swinging), SearchSettings()), SEEDS)
    static, oracle = min(exhaustive.values()), mean_cost(swinging, Oracle(), SEEDS)
    assert (static - search) / (static - oracle) > 0.0


def test_model_search_learns_that_the_board_is_slower_than_its_model(swinging):
    """Told a factor, it expects late answers and raises the clocks."""
    known, fleet = NominalModel.of(swinging), BatchedSimulator(swinging, 1)
    encoder = ObservationEncoder(observation_fields(swinging.layout))
    conditions = {"link_bps": 1e5, "latency_target_s": 0.05, "arrival_hz": 30.0, "eta": 1.0}
    conditions = {name: np.array([value]) for name, value in conditions.items()}
    readings = replace(fleet.reset(SEEDS[:1]), **conditions)
    latencies_s = []
    for factor in (1.0, 2.0):
        search = ModelSearch(known, SearchSettings())
        search.begin(fleet, 1)
        slow = replace(readings, latency_factor=np.array([factor]))
        chosen = Actions(known, search.decide(encoder.encode(slow)))
        assert chosen.indices[0, -1] == 4
        clocks = chosen.clocks
        hz = (clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)
        latencies_s.append(float(known.device.latency_s(chosen.costs.head, *hz)[0]))
    assert latencies_s[1] < latencies_s[0]


def test_model_search_stays_where_it_is_while_nothing_changes(calm):
    fleet = BatchedSimulator(calm, 2)
    encoder = ObservationEncoder(observation_fields(calm.layout))
    readings = fleet.reset(SEEDS[:2])
    search = ModelSearch(NominalModel.of(calm), SearchSettings())
    search.begin(fleet, 2)
    decided = []
    for _ in range(20):
        decided.append(search.decide(encoder.encode(readings)))
        fleet.step(decided[-1])
        readings = fleet.readings()
    assert all((action == decided[5]).all() for action in decided[5:])


def test_tuning_never_costs_more_than_the_defaults(swinging):
    known = NominalModel.of(swinging)
    settings, steps = tune_search(swinging, SEEDS)
    tuned, default = (
        mean_cost(swinging, ModelSearch(known, s), SEEDS) for s in (settings, SearchSettings())
    )
    assert tuned <= default
    assert steps > len(SEEDS) * swinging.n_steps


@pytest.mark.parametrize("search", [published_front, seeded_front])
def test_front_holds_nothing_that_another_member_beats(swinging, search):
    front = search(swinging, SEEDS, 0)
    assert (np.diff(front.energy_j) >= 0.0).all()
    assert len(front.actions) == len(np.unique(front.actions, axis=0))
    assert front.n_steps > 0
    if search is published_front:
        assert (np.diff(front.latency_s) < 0.0).all()


def test_seeded_front_has_the_edge_for_dead_links_and_the_cloud_for_fast_ones(swinging):
    front = seeded_front(swinging, SEEDS, 0)
    assert 4 in front.actions[:, -1]
    assert (front.actions[:, -1] < 4).any()


def test_a_fifth_of_all_configurations_is_tried(swinging):
    front = published_front(swinging, SEEDS, 0)
    tried = -(-135 // 5)
    # One episode each, and one more to measure whatever was on the front of the trials.
    assert front.n_steps >= (tried + len(front.actions)) * swinging.n_steps
    assert front.n_steps <= 2 * tried * swinging.n_steps


def front_actions(*routes: int) -> np.ndarray:
    return np.array([[i, i % 3, 2, route] for i, route in enumerate(routes)], dtype=np.int64)


def test_published_selector_takes_the_first_that_meets_the_threshold(swinging):
    front, latency_s = front_actions(4, 2, 0), np.array([0.3, 0.1, 0.05])
    decider = PublishedDynaSplit(NominalModel.of(swinging), front, latency_s)
    fleet = BatchedSimulator(swinging, 4)
    readings = replace(fleet.reset(SEEDS), latency_target_s=np.array([0.5, 0.2, 0.06, 0.02]))
    decider.begin(fleet, 4)
    encoder = ObservationEncoder(observation_fields(swinging.layout))
    decided = decider.decide(encoder.encode(readings))
    # The last target is met by none, so that the fastest is taken.
    np.testing.assert_array_equal(decided, front[[0, 1, 2, 2]])


def test_mended_selector_follows_the_link(swinging):
    front = np.array([[2, 2, 2, 0], [2, 2, 2, 4]])
    decider = DynaSplit(NominalModel.of(swinging), front)
    fleet = BatchedSimulator(swinging, 2)
    readings = replace(fleet.reset(SEEDS[:2]), link_bps=np.array([3e8, 1e5]))
    decider.begin(fleet, 2)
    encoder = ObservationEncoder(observation_fields(swinging.layout))
    assert decider.decide(encoder.encode(readings))[:, -1].tolist() == [0, 4]


def test_rules_weigh_faithful_routes_or_all_where_accuracy_is_unknown(small_world):
    known = NominalModel.of(small_world)
    n = len(known.costs.accuracy)
    assert np.isnan(known.costs.accuracy).all()
    assert faithful_routes(known).tolist() == list(range(n))
    accuracy = np.array([0.9, *[0.985] * (n - 3), 0.99, 1.0])
    judged = replace(known, costs=replace(known.costs, accuracy=accuracy))
    assert faithful_routes(judged).tolist() == [n - 2, n - 1]

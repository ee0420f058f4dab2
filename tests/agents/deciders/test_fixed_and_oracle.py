from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from agents.baselines.best_static import best_static
from agents.baselines.rollout import mean_cost
from agents.deciders.base import NotSimulatedError
from agents.deciders.oracle import Oracle, cost_table
from agents.deciders.static import Random, Static
from agents.registry import UNLEARNED
from agents.seeds import seeds_for
from envs.sim.batched_simulator import BatchedSimulator
from tests.runs import constant_policy

SEEDS = seeds_for(99, 0, 4)


@pytest.fixture
def fleet(small_world) -> BatchedSimulator:
    """Ten boards, more than the oracle searches at once, a few steps into their episodes."""
    fleet = BatchedSimulator(small_world, 10)
    fleet.reset(seeds_for(99, 1, 10))
    generator = np.random.default_rng(0)
    for _ in range(5):
        fleet.step(generator.integers(0, [3, 3, 3, 5], (10, 4)))
    return fleet


def blind(n: int) -> np.ndarray:
    return np.empty((n, 0), dtype=np.float32)


def begun(decider, fleet):
    decider.begin(fleet, fleet.n)
    return decider


def test_oracle_picks_the_cheapest_action_of_each_board(fleet, small_world):
    decided = begun(Oracle(), fleet).decide(blind(10))
    table = cost_table(fleet, slice(0, 10))
    assert table.shape == (10, 3, 3, 3, 5)
    for board, action in enumerate(decided):
        assert table[board][tuple(action)] == table[board].min()
    assert len(np.unique(decided, axis=0)) > 1


def test_switching_weighs_less_the_longer_the_oracle_dwells(fleet, small_world):
    objective = small_world.objective()
    dear, cheap = (cost_table(fleet, slice(0, 10), dwell) for dwell in (1, 4))
    saved = dear - cheap
    assert saved.min() == pytest.approx(0.0, abs=1e-5)
    assert saved.max() == pytest.approx(0.75 * objective.switching_weight, rel=1e-3)


def test_oracle_beats_every_one_of_50_fixed_actions_where_nothing_is_noisy(swinging):
    oracle = mean_cost(swinging, Oracle(), SEEDS)
    actions = np.random.default_rng(0).integers(0, [3, 3, 3, 5], (50, 4))
    fixed = [mean_cost(swinging, Static(tuple(action)), SEEDS) for action in actions]
    assert oracle < min(fixed)


def test_best_static_is_the_optimum_of_exhaustive_search(swinging):
    costs = {a: mean_cost(swinging, Static(a), SEEDS) for a in product(*map(range, (3, 3, 3, 5)))}
    found = best_static(swinging, SEEDS).action
    assert costs[found] == min(costs.values())
    for name in ("max-edge", "max-cloud"):
        assert costs[found] < mean_cost(swinging, UNLEARNED.fit(name, swinging, 0).decider, SEEDS)


@pytest.mark.parametrize(("name", "route"), [("max-cloud", 0), ("max-edge", 4)])
def test_top_clocks_go_with_either_end(small_world, name, route):
    assert UNLEARNED.fit(name, small_world, 0).decider.action == (2, 2, 2, route)


def test_static_repeats_itself_for_every_board(fleet):
    np.testing.assert_array_equal(Static((1, 2, 0, 3)).decide(blind(2)), [[1, 2, 0, 3]] * 2)


def test_random_reaches_every_choice_and_nothing_else(fleet):
    decider = begun(Random(0), fleet)
    drawn = np.concatenate([decider.decide(blind(50)) for _ in range(4)])
    assert [set(column) for column in drawn.T] == [set(range(n)) for n in (3, 3, 3, 5)]
    np.testing.assert_array_equal(drawn[:50], begun(Random(0), fleet).decide(blind(50)))


def test_learned_policy_decides_by_the_observation_alone(small_world):
    policy = constant_policy(small_world.layout, (1, 0, 2, 3))
    decided = policy.decide(np.zeros((3, len(policy.metadata.fields)), np.float32))
    np.testing.assert_array_equal(decided, [[1, 0, 2, 3]] * 3)


def test_nothing_privileged_decides_for_a_real_board(small_world):
    board = SimpleNamespace(layout=small_world.layout)
    with pytest.raises(NotSimulatedError, match="Oracle"):
        Oracle().begin(board, 1)

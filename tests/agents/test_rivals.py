from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from agents.evaluate import run_episodes, seeds_for
from agents.rivals import (
    Governor,
    Learned,
    Oracle,
    Random,
    Static,
    best_static,
    cost_table,
    max_clocks,
    mean_cost,
)
from envs.fleet import Fleet
from tests.runs import constant_policy

SEEDS = seeds_for(99, 0, 4)


@pytest.fixture
def fleet(small_world) -> Fleet:
    """Ten boards, more than the oracle searches at once, a few steps into their episodes."""
    fleet = Fleet(small_world, 10)
    fleet.reset(seeds_for(99, 1, 10))
    generator = np.random.default_rng(0)
    for _ in range(5):
        fleet.step(generator.integers(0, [3, 3, 3, 5], (10, 4)))
    return fleet


def blind(n: int) -> np.ndarray:
    return np.empty((n, 0), dtype=np.float32)


def test_oracle_picks_the_cheapest_action_of_each_board(fleet, small_world):
    objective = small_world.objective()
    decided = Oracle(objective).decide(blind(10), fleet)
    table = cost_table(fleet, objective, slice(0, 10))
    assert table.shape == (10, 3, 3, 3, 5)
    for board, action in enumerate(decided):
        assert table[board][tuple(action)] == table[board].min()
    assert len(np.unique(decided, axis=0)) > 1


def test_switching_weighs_less_the_longer_the_oracle_dwells(fleet, small_world):
    objective = small_world.objective()
    dear, cheap = (cost_table(fleet, objective, slice(0, 10), dwell) for dwell in (1, 4))
    saved = dear - cheap
    assert saved.min() == pytest.approx(0.0)
    assert saved.max() == pytest.approx(0.75 * objective.switching_weight)


def test_oracle_beats_every_one_of_50_fixed_actions_where_nothing_is_noisy(swinging):
    oracle = mean_cost(swinging, Oracle(swinging.objective()), SEEDS)
    actions = np.random.default_rng(0).integers(0, [3, 3, 3, 5], (50, 4))
    fixed = [mean_cost(swinging, Static(tuple(action)), SEEDS) for action in actions]
    assert oracle < min(fixed)


def test_best_static_is_the_optimum_of_exhaustive_search(swinging):
    costs = {a: mean_cost(swinging, Static(a), SEEDS) for a in product(*map(range, (3, 3, 3, 5)))}
    found = best_static(swinging, SEEDS).action
    assert costs[found] == min(costs.values())
    assert costs[found] < mean_cost(swinging, max_clocks(swinging, -1), SEEDS)
    assert costs[found] < mean_cost(swinging, max_clocks(swinging, 0), SEEDS)


def test_max_clocks_counts_split_points_from_either_end(small_world):
    assert max_clocks(small_world, 0).action == (2, 2, 2, 0)
    assert max_clocks(small_world, -1).action == (2, 2, 2, 4)


def test_static_repeats_itself_for_every_board(fleet):
    np.testing.assert_array_equal(Static((1, 2, 0, 3)).decide(blind(2), fleet), [[1, 2, 0, 3]] * 2)


def governed(world, *, cpu_util: float, gpu_util: float, indices: tuple[int, ...]) -> list[int]:
    tables = [axis.values for axis in world.layout.axes[:-1]]
    clocks_hz = np.array([[table[i] for table, i in zip(tables, indices, strict=True)]])
    fleet = SimpleNamespace(
        readings=lambda: SimpleNamespace(clocks_hz=clocks_hz),
        cpu_util=np.array([cpu_util]),
        gpu_util=np.array([gpu_util]),
        layout=world.layout,
    )
    return Governor().decide(blind(1), fleet)[0].tolist()


def test_governor_lowers_all_clocks_when_idle(world):
    assert governed(world, cpu_util=0.0, gpu_util=0.0, indices=(11, 12, 7)) == [0, 0, 0, 4]


def test_governor_raises_all_clocks_under_full_load(world):
    before = (5, 5, 3)
    after = governed(world, cpu_util=1.0, gpu_util=1.0, indices=before)
    assert all(now > then for now, then in zip(after, before, strict=False))
    top = governed(world, cpu_util=1.0, gpu_util=1.0, indices=(11, 12, 7))
    assert top == [11, 12, 7, 4]


def test_governor_asks_for_headroom_on_the_cpu_and_a_target_load_on_the_gpu(world):
    cpu, gpu, _ = (np.array(axis.values) for axis in world.layout.axes[:-1])
    after = governed(world, cpu_util=0.2, gpu_util=0.35, indices=(8, 8, 7))
    # The host thread spins while the GPU works, so the CPU looks 0.55 busy.
    assert cpu[after[0]] == cpu[cpu >= 1.25 * 0.55 * cpu[8]][0]
    assert gpu[after[1]] == gpu[gpu >= 0.5 * gpu[8]][0]


def test_governor_keeps_everything_on_the_edge(calm):
    result = run_episodes(calm, Governor(), SEEDS)
    assert (result.accuracy == 1.0).all()
    fleet = Fleet(calm, 2)
    fleet.reset(SEEDS[:2])
    assert (Governor().decide(blind(2), fleet)[:, -1] == 4).all()


def test_random_reaches_every_choice_and_nothing_else(fleet):
    decider = Random(0)
    drawn = np.concatenate([decider.decide(blind(50), fleet) for _ in range(4)])
    assert [set(column) for column in drawn.T] == [set(range(n)) for n in (3, 3, 3, 5)]
    np.testing.assert_array_equal(drawn[:50], Random(0).decide(blind(50), fleet))


def test_learned_policy_decides_by_the_observation_alone(small_world):
    policy = constant_policy(small_world.layout, (1, 0, 2, 3))
    decided = Learned(policy).decide(np.zeros((3, 17), np.float32), fleet=None)
    np.testing.assert_array_equal(decided, [[1, 0, 2, 3]] * 3)

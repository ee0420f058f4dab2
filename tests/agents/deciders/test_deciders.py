from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from agents.deciders.base import NotSimulatedError
from agents.deciders.best_static import best_static
from agents.deciders.governor import Governor
from agents.deciders.learned import Learned
from agents.deciders.oracle import Oracle, cost_table
from agents.deciders.registry import DECIDERS, fit, names
from agents.deciders.rollout import mean_cost
from agents.deciders.static import Random, Static, max_clocks
from agents.errors import AgentError
from agents.evaluate import run_episodes
from agents.seeds import seeds_for
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
    assert saved.min() == pytest.approx(0.0)
    assert saved.max() == pytest.approx(0.75 * objective.switching_weight)


def test_oracle_beats_every_one_of_50_fixed_actions_where_nothing_is_noisy(swinging):
    oracle = mean_cost(swinging, Oracle(), SEEDS)
    actions = np.random.default_rng(0).integers(0, [3, 3, 3, 5], (50, 4))
    fixed = [mean_cost(swinging, Static(tuple(action)), SEEDS) for action in actions]
    assert oracle < min(fixed)


def test_best_static_is_the_optimum_of_exhaustive_search(swinging):
    costs = {a: mean_cost(swinging, Static(a), SEEDS) for a in product(*map(range, (3, 3, 3, 5)))}
    found = best_static(swinging, SEEDS).action
    assert costs[found] == min(costs.values())
    assert costs[found] < mean_cost(swinging, max_clocks(swinging.layout, -1), SEEDS)
    assert costs[found] < mean_cost(swinging, max_clocks(swinging.layout, 0), SEEDS)


def test_max_clocks_counts_split_points_from_either_end(small_world):
    assert max_clocks(small_world.layout, 0).action == (2, 2, 2, 0)
    assert max_clocks(small_world.layout, -1).action == (2, 2, 2, 4)


def test_static_repeats_itself_for_every_board(fleet):
    np.testing.assert_array_equal(Static((1, 2, 0, 3)).decide(blind(2)), [[1, 2, 0, 3]] * 2)


def governed(world, *, cpu_util: float, gpu_util: float, indices: tuple[int, ...]) -> list[int]:
    tables = [axis.values for axis in world.layout.axes[:-1]]
    clocks_hz = np.array([[table[i] for table, i in zip(tables, indices, strict=True)]])
    fleet = Fleet(world, 1)
    fleet.readings = lambda: SimpleNamespace(clocks_hz=clocks_hz)
    fleet.cpu_util, fleet.gpu_util = np.array([cpu_util]), np.array([gpu_util])
    return begun(Governor(), fleet).decide(blind(1))[0].tolist()


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
    assert (begun(Governor(), fleet).decide(blind(2))[:, -1] == 4).all()


def test_random_reaches_every_choice_and_nothing_else(fleet):
    decider = begun(Random(0), fleet)
    drawn = np.concatenate([decider.decide(blind(50)) for _ in range(4)])
    assert [set(column) for column in drawn.T] == [set(range(n)) for n in (3, 3, 3, 5)]
    np.testing.assert_array_equal(drawn[:50], begun(Random(0), fleet).decide(blind(50)))


def test_learned_policy_decides_by_the_observation_alone(small_world):
    policy = constant_policy(small_world.layout, (1, 0, 2, 3))
    decided = Learned(policy).decide(np.zeros((3, 17), np.float32))
    np.testing.assert_array_equal(decided, [[1, 0, 2, 3]] * 3)


def test_nothing_privileged_decides_for_a_real_board(small_world):
    board = SimpleNamespace(layout=small_world.layout)
    for decider in (Oracle(), Governor()):
        with pytest.raises(NotSimulatedError, match=type(decider).__name__):
            decider.begin(board, 1)


@pytest.mark.parametrize("name", [n for n, e in DECIDERS.items() if e.kind != "learned"])
def test_every_decider_fits_and_decides_for_many_boards(swinging, name):
    fitted = fit(name, swinging, 0)
    assert fitted.fit_s >= 0.0
    assert (fitted.fit_steps > 0) == (DECIDERS[name].kind == "searched")
    assert np.isfinite(mean_cost(swinging, fitted.decider, SEEDS))


def test_names_are_listed_by_kind():
    assert set(names("privileged", "rule")) < set(names()) == set(DECIDERS)
    assert "oracle" in names("privileged")


def test_unknown_decider_is_refused_with_those_there_are(calm):
    with pytest.raises(AgentError, match=r"unknown algorithm 'nonsense'.*oracle"):
        fit("nonsense", calm, 0)

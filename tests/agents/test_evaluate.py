from __future__ import annotations

import csv
import math
from dataclasses import fields, replace

import numpy as np
import pytest

from agents.baselines.best_static import best_static
from agents.deciders.oracle import Oracle
from agents.deciders.static import Static
from agents.evaluation.episodes import run_episodes
from agents.evaluation.evaluate import RIVALS, evaluate, one_by_one, write_csv
from agents.evaluation.rows import ALL, EvaluationRow
from agents.registry import UNLEARNED
from agents.seeds import held_out_seeds, search_seeds, seeds_for
from agents.training.validation import _PURPOSE
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.effects import Effects

POLICIES = ["mine", "best-static-overall", *RIVALS]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def rows(small_world, lines) -> list[EvaluationRow]:
    mine = {"mine": Static((0, 0, 0, 0))}
    return evaluate(small_world, mine, 0, n_episodes=3, report=lines.append)


def test_each_policy_is_judged_in_each_scenario_and_over_all(rows, lines):
    found = [(row.scenario, row.policy) for row in rows]
    assert found == [(s, p) for s in ("steady-wifi", "lte-driving", ALL) for p in POLICIES]
    assert [line.split()[-1] for line in lines] == ["steady-wifi", "lte-driving"]


def test_a_single_scenario_gets_no_second_table(calm):
    assert {row.scenario for row in evaluate(calm, {}, 0, n_episodes=2)} == {"calm"}


def test_pooled_means_are_the_means_of_the_scenarios(rows):
    for policy in POLICIES:
        wifi, lte, both = (row for row in rows if row.policy == policy)
        for name in ("energy_j", "latency_s", "deadline_hit_rate", "accuracy", "cost"):
            mean = 0.5 * (getattr(wifi, name) + getattr(lte, name))
            assert getattr(both, name) == pytest.approx(mean, nan_ok=True)
        lower, higher = sorted((wifi.p95_latency_s, lte.p95_latency_s))
        assert lower < both.p95_latency_s <= higher


def test_oracle_gap_is_relative_to_the_oracle_of_the_scenario(rows):
    for row in rows:
        oracle = next(r for r in rows if r.scenario == row.scenario and r.policy == "oracle")
        assert row.oracle_gap == pytest.approx(row.cost / oracle.cost - 1.0)


def test_intervals_enclose_their_means(rows):
    for row in rows:
        for name in ("energy_j", "latency_s", "deadline_hit_rate", "cost"):
            low, high = getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
            assert low <= getattr(row, name) + 1e-12
            assert getattr(row, name) <= high + 1e-12


def test_way_runs_from_best_static_to_the_oracle(swinging):
    rows = {row.policy: row for row in evaluate(swinging, {}, 0, n_episodes=8)}
    assert rows["oracle"].gap_closed == pytest.approx(1.0)
    assert rows["best-static"].gap_closed == pytest.approx(0.0)
    edge = rows["max-edge"]
    static, oracle = rows["best-static"].cost, rows["oracle"].cost
    assert edge.gap_closed == pytest.approx((static - edge.cost) / (static - oracle))
    assert edge.gap_closed_low < edge.gap_closed < edge.gap_closed_high


def test_a_policy_named_like_a_baseline_is_judged_and_gaps_are_those_of_the_baseline(swinging):
    worst = Static((2, 1, 2, 3))
    named = {row.policy: row for row in last(evaluate(swinging, {"best-static": worst}, 0))}
    free = {row.policy: row for row in last(evaluate(swinging, {"mine": worst}, 0))}
    for name in ("cost", "energy_j", "gap_closed"):
        assert getattr(named["best-static"], name) == getattr(free["mine"], name)
    assert free["best-static"].cost < free["mine"].cost


def test_one_setting_for_all_scenarios_is_the_one_that_is_saved(small_world):
    found = {row.policy: row for row in last(evaluate(small_world, {}, 0))}
    saved = UNLEARNED.fit("best-static", small_world, 0).decider
    cost = np.mean(
        [run_episodes(single, saved, held_out_seeds(0)).cost for single in one_by_one(small_world)]
    )
    assert found["best-static-overall"].cost == pytest.approx(cost)
    assert found["best-static-overall"].cost >= found["best-static"].cost


def last(rows):
    return [row for row in rows if row.scenario == rows[-1].scenario]


def test_a_way_too_short_to_measure_is_no_number(calm):
    rows = evaluate(calm, {}, 0, n_episodes=2)
    assert all(math.isnan(row.gap_closed) for row in rows)


def test_results_of_an_episode_are_those_of_the_fleet(swinging):
    seeds, action = held_out_seeds(0, 3), np.array([2, 1, 2, 3])
    fleet, objective = BatchedSimulator(swinging, 3), swinging.objective()
    eta = fleet.reset(seeds).eta
    outcomes = [fleet.step(np.tile(action, (3, 1))) for _ in range(swinging.n_steps)]
    requests = sum(o.requests for o in outcomes)
    energy_j = sum(o.power_w * swinging.step_s for o in outcomes) / requests
    latency_s = sum(o.latency_s * o.requests for o in outcomes) / requests
    cost = sum(objective.cost(o, eta) for o in outcomes) / swinging.n_steps
    result = run_episodes(swinging, Static(tuple(action)), seeds)
    np.testing.assert_allclose(result.energy_j, energy_j)
    np.testing.assert_allclose(result.latency_s, latency_s)
    np.testing.assert_allclose(result.cost, cost)


def test_tail_latency_of_a_constant_world_is_the_edge_of_the_scatter(calm):
    calm = replace(calm, effects=Effects.without(["latency_tails"]))
    result = run_episodes(calm, Static((2, 2, 2, 4)), held_out_seeds(0, 2))
    assert result.p95_latency_s() == pytest.approx(1.045 * result.latency_s[0], rel=0.006)


def test_requests_that_are_held_up_show_in_the_tail(calm, build):
    irregular = build("irregular", rate_hz="20.0", kind="poisson")
    tails = [
        run_episodes(world, Static((2, 2, 2, 4)), held_out_seeds(0, 2)).p95_latency_s()
        for world in (calm, irregular)
    ]
    assert tails[1] > 1.2 * tails[0]


def test_decider_sees_the_encoded_readings_of_the_boards(calm):
    seen = []

    class Watcher(Static):
        def decide(self, observations):
            seen.append(observations)
            return super().decide(observations)

    run_episodes(replace(calm, n_steps=3), Watcher((0, 0, 0, 0)), held_out_seeds(0, 2))
    assert [o.shape for o in seen] == [(2, 24)] * 3
    # Maximum clocks and edge-only at first, then what was chosen.
    np.testing.assert_allclose(seen[0][:, -3:], 1.0)
    assert (seen[1][:, -3:] < 0.0).all()


def test_episodes_are_never_shared_between_purposes():
    n = 1000
    held_out, search = held_out_seeds(0, n), search_seeds(0, n)
    validation = seeds_for(_PURPOSE, 0, n)
    drawn = [held_out, search, validation, held_out_seeds(1, n)]
    assert len(np.unique(np.concatenate(drawn))) == len(drawn) * n
    np.testing.assert_array_equal(held_out, held_out_seeds(0, n))


def test_evaluation_repeats_exactly(swinging):
    first, second = (evaluate(swinging, {}, 3, n_episodes=2) for _ in range(2))
    assert repr(first) == repr(second)


def test_csv_has_the_columns_that_scripts_rely_on(rows, tmp_path):
    write_csv(rows, tmp_path / "evaluation.csv")
    with (tmp_path / "evaluation.csv").open() as stream:
        read = list(csv.DictReader(stream))
    contract = "policy energy_j latency_s p95_latency_s deadline_hit_rate accuracy cost oracle_gap"
    assert set(contract.split()) <= set(read[0])
    assert list(read[0]) == [f.name for f in fields(EvaluationRow)]
    assert [line["policy"] for line in read] == [row.policy for row in rows]
    assert float(read[0]["cost"]) == pytest.approx(rows[0].cost, rel=1e-5)


def test_oracle_beats_the_best_fixed_action_where_the_link_swings(swinging):
    seeds = held_out_seeds(0, 8)
    oracle = run_episodes(swinging, Oracle(), seeds)
    static = run_episodes(swinging, best_static(swinging, search_seeds(0)), seeds)
    assert oracle.cost.mean() < 0.95 * static.cost.mean()

"""The page about how long to train."""

from __future__ import annotations

import pytest

from agents.errors import AgentError
from agents.training.algorithms import ALGORITHMS
from benchmarks.policies import budget, dependencies
from benchmarks.policies.compared import COMPARED
from tests.agents.benchmark.test_benchmark_table import N_SEEDS, measured


def results(**costs: float):
    """Of each budget; the more steps, the nearer to the oracle."""
    trained = {
        budget.trained(steps): 1.1 - 0.01 * k for k, steps in enumerate(budget.budgets(), start=1)
    }
    costs = {"oracle": 1.0, "best-static": 2.0, budget.UNTRAINED: 1.1, **trained, **costs}
    return [measured(name, seed, cost) for name, cost in costs.items() for seed in range(N_SEEDS)]


def test_the_curve_rises_with_the_steps(tmp_path):
    lines = budget.page(results(), tmp_path / "budget.png").splitlines()
    table = [line for line in lines if line.startswith("| ")]
    none = next(line for line in table if line.startswith("| none"))
    assert none.split(" | ")[1:3] == ["90.0 (90.0 to 90.0)", "+0.00 % (+0.00 to +0.00)"]
    closed = [
        float(line.split(" | ")[1].split(" ")[0])
        for line in table
        if line.split(" | ")[0].strip("| ").replace(",", "").isdecimal()
    ]
    assert closed == sorted(closed)
    assert len(closed) == len(budget.budgets())
    assert (tmp_path / "budget.png").stat().st_size > 10_000


def test_scenarios_stand_in_the_order_of_what_training_brings(tmp_path):
    page = budget.page(results(), tmp_path / "budget.png")
    after = page.partition("Scenario by scenario")[2]
    rows = [line for line in after.splitlines() if line.startswith(("| a ", "| b "))]
    assert len(rows) == 2
    assert all("-4.55 %" in row for row in rows)  # 1.05 for 1.1, after the default's steps


def test_without_a_seed_of_every_budget_there_is_no_page(tmp_path):
    some = [r for r in results() if r.job.decider != budget.trained(budget.budgets()[0])]
    with pytest.raises(AgentError, match="run the command on"):
        budget.page(some, tmp_path / "budget.png")


def test_a_learner_takes_the_steps_that_it_is_given(world):
    fitted = COMPARED.fit("ppo@600", world, 0)
    assert 0 < fitted.fit_steps <= 600
    assert COMPARED.entry("ppo@600").kind == "learned"
    with pytest.raises(AgentError):
        COMPARED.entry("ppo@many")


def test_a_budget_rests_on_what_its_learner_does():
    assert dependencies._modules("advised@600") == dependencies._modules("advised")


def test_the_default_is_one_of_the_budgets():
    assert ALGORITHMS["advised"].total_timesteps in budget.budgets()
    fits = [job for job in budget.jobs(2) if job.decider.startswith("advised")]
    assert len(fits) == 2 * len((budget.UNTRAINED, *budget.budgets()))


def test_the_untrained_is_fitted_to_all_scenarios_at_once():
    assert COMPARED.entry(budget.UNTRAINED).kind == "learned"
    assert COMPARED.entry("advice").kind == "searched"

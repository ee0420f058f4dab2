"""The page about learners as they ship."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.errors import AgentError
from benchmarks.policies import learners
from tests.agents.benchmark.test_benchmark_table import N_SEEDS, case


def test_a_share_of_the_gap_is_told_by_learner_and_by_seed():
    found = case(oracle=1.0, best_static=2.0, ppo=1.1, sac=1.25)
    page = learners.page([replace(result, fit_cpu_s=601.0) for result in found])
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith(("| ppo", "| sac"))]
    assert [row[1].split(" ")[0] for row in rows[:2]] == ["90.0", "75.0"]
    assert [row[3] for row in rows[:2]] == ["met", "missed"]
    assert [row[1:3] for row in rows[2 : 2 + N_SEEDS]] == [[str(s), "90.0"] for s in range(N_SEEDS)]
    assert "not all within 600 s" in page
    assert "not all" not in learners.page(found)


def test_seeds_that_are_not_finished_are_left_out():
    found = case(oracle=1.0, best_static=2.0, ppo=1.1, sac=1.25)
    some = [r for r in found if r.job.decider != "sac" or r.job.fit_seed < 2]
    assert "with nothing else, 2 seeds each" in learners.page(some).replace("\n", " ")
    with pytest.raises(AgentError, match="no seed of every learner is finished"):
        learners.page([result for result in found if result.job.decider != "sac"])


def test_what_is_measured_is_what_ships():
    jobs = learners.jobs(5)
    assert sum(job.decider in learners.ASKED_FOR for job in jobs) == 10
    assert {job.scenarios for job in jobs} == {("all",)}

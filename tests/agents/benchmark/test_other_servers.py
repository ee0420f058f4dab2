"""The page about servers of other speeds."""

from __future__ import annotations

import pytest

from agents.errors import AgentError
from benchmarks.policies import server_speed
from benchmarks.policies.run import MeasuredDecider
from tests.agents.benchmark.test_benchmark_table import N_SEEDS, measured

SERVERS = {
    f"{factor:g}@{name}": times
    for factor in server_speed.FACTORS
    if factor != 1.0
    for name, times in (("a", 1.0), ("b", 2.0))
}


def results(**costs: float) -> list[MeasuredDecider]:
    return [
        measured(name.replace("_", "-"), seed, cost, changed=SERVERS)
        for name, cost in costs.items()
        for seed in range(N_SEEDS)
    ]


def test_gaps_and_bars_are_those_of_each_server():
    found = results(
        oracle=1.0, advised=1.02, model_search=1.05, best_static=1.3, best_static_refitted=1.01
    )
    lines = server_speed.page(found).splitlines()
    (row,) = (line for line in lines if line.startswith("| 0.2 x"))
    assert [cell.split(" ")[0] for cell in row.split(" | ")[1:]] == ["2.0", "5.0", "30.0", "1.0"]
    bars = [line for line in lines if line.startswith(("| met", "| missed"))]
    assert sum("above the oracle's" in bar and bar.startswith("| met") for bar in bars) == 2
    worse = [bar for bar in bars if "is worse than a fixed setting" in bar]
    assert [bar.split(" | ")[-1] for bar in worse] == ["a, b |"] * len(server_speed.ASKED_FOR)
    beside = [bar for bar in bars if "`best-static-refitted`" in bar]
    assert len(beside) == len(server_speed.FACTORS)
    assert all(bar.startswith("| missed") for bar in beside)
    assert all(bar.startswith("| met") for bar in bars if "`best-static`" in bar)


def test_without_a_seed_of_everybody_there_is_no_page():
    with pytest.raises(AgentError, match="run the command on"):
        server_speed.page(results(oracle=1.0, advised=1.02))


def test_everybody_is_fitted_again_but_the_oracle():
    jobs = server_speed.jobs(3)
    assert [sum(job.decider == name for job in jobs) for name in ("oracle", "advised")] == [1, 3]
    assert {job.server_factors for job in jobs} == {server_speed.FACTORS}

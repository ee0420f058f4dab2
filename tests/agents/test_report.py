"""What an evaluation prints: one screen."""

from __future__ import annotations

import math
from dataclasses import fields

from agents.evaluation.report import print_rows
from agents.evaluation.rows import EvaluationRow


def row(scenario: str, policy: str, gap_closed: float = 0.5) -> EvaluationRow:
    numbers = {field.name: 1.0 for field in fields(EvaluationRow)}
    return EvaluationRow(
        **numbers | {"scenario": scenario, "policy": policy, "gap_closed": gap_closed}
    )


def test_of_several_scenarios_the_rows_over_all_are_printed(capsys):
    names = [f"scenario-{i}" for i in range(13)]
    print_rows([row(name, policy) for name in [*names, "all"] for policy in ("mine", "oracle")])
    told = capsys.readouterr().out
    assert told.count("mine") == told.count("oracle") == 1
    assert "scenario-3" not in told
    assert "each scenario is in evaluation.csv" in told
    assert len(told.splitlines()) < 24


def test_of_one_scenario_its_rows_are_printed(capsys):
    print_rows([row("steady-wifi", "mine")])
    told = capsys.readouterr().out
    assert "steady-wifi" in told
    assert "each scenario" not in told
    assert "-:" not in told


def test_a_dash_is_explained(capsys):
    print_rows([row("steady-wifi", "mine", math.nan)])
    assert "-: the best static setting costs less than 5% more" in capsys.readouterr().out

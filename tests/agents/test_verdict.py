from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agents.deciders.static import Static
from agents.evaluation.evaluate import evaluate
from agents.evaluation.verdict import beaten_by, last_words
from agents.registry import UNLEARNED

RUN = Path("results/runs/mine")


@pytest.fixture(scope="module")
def rows(swinging):
    names = ("max-edge", "max-cloud", "model-search")
    fitted = {name: UNLEARNED.fit(name, swinging, 0).decider for name in names}
    return evaluate(swinging, fitted, 0, n_episodes=4)


def words(rows, policy, *, is_privileged=False) -> list[str]:
    found = last_words(rows, policy, RUN, remedy="train longer", is_privileged=is_privileged)
    return found.splitlines()


def test_a_policy_that_is_better_than_the_yardsticks_is_to_be_deployed(rows):
    assert beaten_by(rows, "model-search") == {}
    assert words(rows, "model-search")[-1] == f"next: python deploy.py --run {RUN}"


def test_a_policy_that_is_worse_is_told_instead(rows):
    cost = {row.policy: row.cost for row in rows}
    assert cost["best-static"] < cost["max-cloud"]
    last = words(rows, "max-cloud")[-1]
    assert last.startswith(f"warning: on held-out episodes max-cloud costs {cost['max-cloud']:.3f}")
    assert f"best-static ({cost['best-static']:.3f})" in last
    assert last.endswith("train longer")
    assert "deploy.py" not in last


def test_a_hundredth_more_is_level(rows):
    cost = {row.policy: row.cost for row in rows}
    near, far = (replace(rows[0], policy=name) for name in ("near", "far"))
    near, far = (
        replace(near, cost=1.009 * cost["best-static"]),
        replace(far, cost=1.011 * cost["best-static"]),
    )
    both = [*rows, near, far]
    assert "best-static" not in beaten_by(both, "near")
    assert "best-static" in beaten_by(both, "far")


def test_over_several_scenarios_the_yardstick_is_a_setting_that_can_be_deployed(small_world):
    fitted = UNLEARNED.fit("best-static", small_world, 0).decider
    rows = evaluate(small_world, {"mine": fitted, "worse": Static((0, 0, 0, 0))}, 0)
    cost = {row.policy: row.cost for row in rows if row.scenario == rows[-1].scenario}
    assert cost["best-static"] < cost["mine"]  # one for each scenario
    assert beaten_by(rows, "mine") == {}
    assert beaten_by(rows, "worse")["best-static-overall"] == cost["mine"]


def test_what_cannot_be_deployed_is_not_to_be_deployed(rows):
    text = "\n".join(words(rows, "oracle", is_privileged=True))
    assert "deploy.py" not in text
    assert "cannot drive a board" in text

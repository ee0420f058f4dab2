from __future__ import annotations

import json

import numpy as np
import pytest

from agents.deciders.known import Known
from agents.deciders.registry import DECIDERS, fit, names
from agents.deciders.rollout import mean_cost
from agents.deciders.rules import Rule, rule_names
from agents.errors import AgentError
from agents.seeds import seeds_for

SEEDS = seeds_for(99, 0, 4)
UNLEARNED = names("searched", "rule", "privileged")


@pytest.fixture(scope="module", params=UNLEARNED)
def fitted(request, swinging):
    return request.param, fit(request.param, swinging, 0)


def test_every_decider_fits_and_decides_for_many_boards(swinging, fitted):
    name, found = fitted
    assert found.fit_s >= 0.0
    assert (found.fit_steps > 0) == (DECIDERS[name].kind == "searched")
    assert np.isfinite(mean_cost(swinging, found.decider, SEEDS))


def test_what_can_be_saved_decides_the_same_when_it_is_built_again(swinging, fitted):
    name, found = fitted
    if DECIDERS[name].kind == "privileged":
        assert found.rule is None
        return
    assert found.rule.name in rule_names()
    parameters = json.loads(json.dumps(found.rule.parameters))
    again = Rule(found.rule.name, parameters).build(Known.of(swinging))
    first, second = (mean_cost(swinging, decider, SEEDS) for decider in (found.decider, again))
    assert first == second


def test_deciders_forget_between_episodes(swinging, fitted):
    _, found = fitted
    first, again = (mean_cost(swinging, found.decider, SEEDS) for _ in range(2))
    assert first == again


def test_names_are_listed_by_kind():
    assert set(UNLEARNED) <= set(names()) == set(DECIDERS)
    assert {"oracle", "planner"} == set(names("privileged"))


def test_unknown_decider_is_refused_with_those_there_are(calm):
    with pytest.raises(AgentError, match=r"unknown algorithm 'nonsense'.*oracle"):
        fit("nonsense", calm, 0)

"""Learning from the outcomes of a whole portfolio."""

from __future__ import annotations

import json

import numpy as np
import pytest

from agents.deciders.known import Known
from agents.deciders.model_search import ModelSearch, SearchSettings
from agents.deciders.oracle import Oracle
from agents.deciders.rollout import mean_cost
from agents.deciders.rules import Rule
from agents.learners.full_information import FullInformation, Settings
from agents.seeds import seeds_for
from agents.training import fit_advised

SEEDS = seeds_for(99, 0, 8)
FEW = Settings(n_boards=32, total_timesteps=6_400, batch_size=64)
MANY = Settings(
    n_boards=32, total_timesteps=32_000, batch_size=64, gamma=0.0, temperature=(0.05, 0.001)
)


@pytest.fixture(scope="module")
def fitted(swinging):
    return fit_advised(swinging, 0, FEW)


def test_learns_what_the_model_leaves_open(swinging):
    """The link's estimate is stale when nothing is sent; a memory tells what to make of it."""
    searched = mean_cost(swinging, ModelSearch(Known.of(swinging), SearchSettings()), SEEDS)
    assert mean_cost(swinging, fit_advised(swinging, 0, MANY).decider, SEEDS) < 0.97 * searched


def test_finds_the_optimum_where_nothing_changes(calm):
    best = mean_cost(calm, Oracle(), SEEDS)
    assert mean_cost(calm, fit_advised(calm, 0, FEW).decider, SEEDS) <= 1.005 * best


def test_same_seed_same_policy(swinging, fitted):
    again = fit_advised(swinging, 0, FEW)
    assert again.rule == fitted.rule
    assert fit_advised(swinging, 1, FEW).rule != fitted.rule


def test_what_is_saved_decides_the_same(swinging, fitted):
    parameters = json.loads(json.dumps(fitted.rule.parameters))
    again = Rule(fitted.rule.name, parameters).build(Known.of(swinging))
    assert mean_cost(swinging, again, SEEDS) == mean_cost(swinging, fitted.decider, SEEDS)


def test_steps_are_counted_and_reported(swinging):
    lines: list[str] = []
    settings = Settings(n_boards=8, total_timesteps=800, batch_size=64)
    actions = np.array([[1, 1, 1, 4], [0, 0, 0, 0]])
    assert FullInformation(swinging, actions, 0, settings).run(lines.append) == 800
    assert lines[-1].startswith("800 steps")

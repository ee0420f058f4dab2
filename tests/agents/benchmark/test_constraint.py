"""Requests in time as a constraint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.advised.policy import PolicyFeatures, advised_rule
from agents.deciders.nominal import NominalModel, every_action
from agents.evaluation.plots import save
from agents.policy.saved_rule import SavedRule
from benchmarks.policies import constraint
from benchmarks.policies.constraint import SHARES, constrained, follow
from envs.scenarios.signals import Signal
from envs.sim.sim_config import SimConfig


@pytest.fixture(scope="module")
def tight(swinging) -> SimConfig:
    """A target that the board misses by itself at its lowest clocks."""
    (scenario,) = swinging.scenarios
    signals = {**scenario.signals, "latency_target_s": Signal(quantiles=(0.03,))}
    return replace(swinging, scenarios=(replace(scenario, signals=signals),))


@pytest.fixture(scope="module")
def careless(tight) -> SavedRule:
    """A policy that keeps everything on the board, at its lowest clocks."""
    known, actions = NominalModel.of(tight), every_action(tight.layout)[::3]
    n_inputs = PolicyFeatures(known, actions).n_inputs
    shapes = [(4, n_inputs), (len(actions), 4)]
    layers = [(np.zeros(shape, np.float32), np.zeros(shape[0], np.float32)) for shape in shapes]
    layers[-1][1][actions[:, -1].argmax()] = 1e4
    return SavedRule("advised", advised_rule(actions, layers), tight.layout)


@pytest.fixture(scope="module")
def found(tight, careless):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constraint, "RIVALS", ("oracle", "model-search"))
        return follow(tight, constrained(tight, careless), 6)


def test_a_tighter_constraint_brings_more_requests_in_time(found):
    free, *bound = (point for name, point in found.items() if name.startswith("advised"))
    assert len(bound) == len(SHARES)
    assert bound[-1].deadline_hit_rate > free.deadline_hit_rate + 0.05
    assert free.deadline_hit_rate < SHARES[0]
    assert bound[-1].deadline_hit_rate >= SHARES[-2]


def test_page_and_picture(found, tmp_path, monkeypatch):
    monkeypatch.setattr(constraint, "RIVALS", ("oracle", "model-search"))
    page = constraint._page(found, 6)
    assert f"| advised, at least {100 * SHARES[0]:g} % |" in page
    save(constraint._figure(found), tmp_path / "constraint.png")
    assert (tmp_path / "constraint.png").stat().st_size > 10_000

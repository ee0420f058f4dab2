from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.objective import TERMS, Objective
from envs.plant import Outcome

OBJECTIVE = Objective(
    max_power_w=10.0,
    reference_latency_s=0.05,
    deadline_weight=2.0,
    accuracy_weight=3.0,
    switching_weight=0.4,
    thermal_weight_per_c=0.5,
)
OUTCOME = Outcome(
    energy_j=np.array([0.25, 1.0]),
    latency_s=np.array([0.1, 0.05]),
    deadline_hit_rate=np.array([0.75, 1.0]),
    accuracy=np.array([0.9, 1.0]),
    switched=np.array([0.5, 0.0]),
    overheat_c=np.array([4.0, 0.0]),
    power_w=np.array([9.0, 9.0]),
    requests=np.array([2.0, 2.0]),
    uplink_bytes=np.array([7.0, 7.0]),
    fell_back=np.array([0.0, 0.0]),
)


def test_the_terms_are_as_worked_out_by_hand():
    terms = OBJECTIVE.terms(OUTCOME, np.array([0.2, 0.2]))
    assert tuple(terms) == TERMS
    expected = {
        "energy": [0.2 * 0.25 / 0.5, 0.2 * 1.0 / 0.5],
        "time": [0.8 * 2.0, 0.8 * 1.0],
        "deadline": [2.0 * 0.25, 0.0],
        "accuracy": [3.0 * 0.1, 0.0],
        "switching": [0.4 * 0.5, 0.0],
        "thermal": [0.5 * 4.0, 0.0],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(terms[name], values, atol=1e-12)


def test_an_unknown_accuracy_costs_nothing():
    unknown = replace(OUTCOME, accuracy=np.full(2, np.nan, np.float32))
    terms = OBJECTIVE.terms(unknown, np.array([0.2, 0.2]))
    assert terms["accuracy"].tolist() == [0.0, 0.0]
    known = replace(OUTCOME, accuracy=np.ones(2))
    eta = np.array([0.2, 0.2])
    np.testing.assert_array_equal(OBJECTIVE.cost(unknown, eta), OBJECTIVE.cost(known, eta))


@pytest.mark.parametrize(
    ("eta", "absent", "present"), [(0.0, "energy", "time"), (1.0, "time", "energy")]
)
def test_at_its_ends_eta_leaves_one_of_energy_and_time(eta, absent, present):
    terms = OBJECTIVE.terms(OUTCOME, np.array([eta]))
    assert (terms[absent] == 0.0).all()
    assert (terms[present] > 0.0).all()


def test_the_cost_is_the_sum_of_the_terms():
    eta = np.array([0.3, 0.7])
    total = np.sum(list(OBJECTIVE.terms(OUTCOME, eta).values()), axis=0)
    np.testing.assert_allclose(OBJECTIVE.cost(OUTCOME, eta), total)

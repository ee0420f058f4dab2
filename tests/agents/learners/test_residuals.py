"""What a board teaches about the actions of a portfolio."""

from __future__ import annotations

import numpy as np
import pytest

from agents.deciders.known import Known, every_action
from agents.errors import AgentError
from agents.learners.residuals import LARGEST, Residuals, features


@pytest.fixture(scope="module")
def known(swinging) -> Known:
    return Known.of(swinging)


@pytest.fixture(scope="module")
def portfolio(swinging):
    return every_action(swinging.layout)[::7]


def test_features_are_standardised_or_nothing(known, portfolio):
    found = features(known, portfolio)
    assert found.mean(axis=0) == pytest.approx(np.zeros(found.shape[1]), abs=1e-9)
    spread = found.std(axis=0)
    assert set(spread.round(6)) <= {0.0, 1.0}
    assert spread.sum() >= 5


def test_what_a_feature_costs_is_found_among_noise(known, portfolio):
    """In few steps, of which none need have tried the action in question."""
    generator, learned = np.random.default_rng(0), Residuals(known, portfolio)
    truth = (
        features(known, portfolio) @ np.r_[0.05, np.zeros(features(known, portfolio).shape[1] - 1)]
    )
    for number in generator.integers(0, len(portfolio) // 2, 600):
        learned.add(int(number), truth[number] + 0.3 + generator.normal(0.0, 0.1))
    offsets = learned.offsets()
    assert np.corrcoef(offsets, truth)[0, 1] > 0.9
    assert offsets.mean() == pytest.approx(0.0, abs=1e-9)
    assert np.abs(offsets - (truth - truth.mean())).mean() < 0.02


def test_a_board_as_expected_teaches_nothing(known, portfolio):
    learned = Residuals(known, portfolio)
    assert not learned.offsets().any()
    for number in range(len(portfolio)):
        learned.add(number, 0.2)
    assert learned.offsets() == pytest.approx(np.zeros(len(portfolio)), abs=1e-9)


def test_single_surprises_are_not_believed(known, portfolio):
    learned = Residuals(known, portfolio)
    for number in range(20):
        learned.add(number, 0.0)
    learned.add(0, 1e6)
    assert np.abs(learned.offsets()).max() < LARGEST / 5


def test_surprises_are_kept(known, portfolio, tmp_path):
    learned, again = Residuals(known, portfolio), Residuals(known, portfolio)
    for number in range(12):
        learned.add(number, 0.1 * number)
    learned.save(tmp_path / "surprises.npz")
    again.load(tmp_path / "surprises.npz")
    np.testing.assert_array_equal(again.offsets(), learned.offsets())


def test_damaged_and_foreign_surprises_are_refused(known, portfolio, tmp_path):
    path = tmp_path / "surprises.npz"
    path.write_bytes(b"half")
    with pytest.raises(AgentError, match="damaged"):
        Residuals(known, portfolio).load(path)
    foreign = Residuals(known, portfolio)
    foreign.add(len(portfolio) - 1, 0.0)
    foreign.save(path)
    with pytest.raises(AgentError, match="another portfolio"):
        Residuals(known, portfolio[:3]).load(path)

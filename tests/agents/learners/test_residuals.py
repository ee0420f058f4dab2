"""What a board teaches about the actions of a portfolio."""

from __future__ import annotations

import numpy as np
import pytest

from agents.advised.residuals import LARGEST, Residuals, features
from agents.deciders.nominal import NominalModel, every_action
from agents.errors import AgentError


@pytest.fixture(scope="module")
def known(swinging) -> NominalModel:
    return NominalModel.of(swinging)


@pytest.fixture(scope="module")
def portfolio(swinging):
    return every_action(swinging.layout)[::7]


def test_features_are_standardised_or_nothing(known, portfolio):
    found = features(known, portfolio)
    assert found.mean(axis=0) == pytest.approx(np.zeros(found.shape[1]), abs=1e-9)
    spread = found.std(axis=0)
    assert set(spread.round(6)) <= {0.0, 1.0}
    assert spread.sum() >= 5


def evenly(portfolio):
    """Chances of a draw in which every action is alike."""
    return np.full(len(portfolio), 1.0 / len(portfolio))


def test_what_a_feature_costs_is_found_among_noise(known, portfolio):
    generator, learned = np.random.default_rng(0), Residuals(known, portfolio)
    weights = np.zeros(features(known, portfolio).shape[1])
    weights[0] = 0.05
    truth = features(known, portfolio) @ weights
    for number in generator.integers(0, len(portfolio), 600):
        surprise = truth[number] + 0.3 + generator.normal(0.0, 0.1)
        learned.add(int(number), evenly(portfolio), surprise)
    offsets = learned.offsets()
    assert np.corrcoef(offsets, truth)[0, 1] > 0.95
    assert np.abs(offsets - truth).mean() < 0.02


def test_surprises_of_a_state_are_not_charged_to_what_is_done_in_it(known, portfolio):
    """In bad states the first action is usual, in good ones the last, and all cost as expected."""
    generator, learned = np.random.default_rng(0), Residuals(known, portfolio)
    for _ in range(600):
        is_bad = generator.random() < 0.5
        chances = 0.3 * evenly(portfolio)
        chances[0 if is_bad else -1] += 0.7
        number = int(generator.choice(len(portfolio), p=chances))
        learned.add(number, chances, 0.5 if is_bad else -0.5)
    offsets = learned.offsets()
    assert abs(offsets[0] - offsets[-1]) < 0.2  # without the chances it would be nearly 1


def test_what_was_never_drawn_stays_nearly_as_expected(known, swinging):
    """All draws are among the actions of one route, and differ only in the first clock."""
    portfolio = every_action(swinging.layout)
    learned = Residuals(known, portfolio)
    alike = np.flatnonzero((portfolio[:, 1:] == portfolio[0, 1:]).all(axis=1))
    chances = np.zeros(len(portfolio))
    chances[alike] = 1.0 / len(alike)
    generator = np.random.default_rng(0)
    for number in generator.choice(alike, 400):
        learned.add(int(number), chances, 0.2 * portfolio[number, 0])
    offsets, far = learned.offsets(), portfolio[:, -1] != portfolio[0, -1]
    spread = np.ptp(offsets[alike])
    assert spread > 0.03
    assert np.abs(offsets[far]).mean() < spread


def test_a_board_as_expected_teaches_nothing(known, portfolio):
    learned = Residuals(known, portfolio)
    assert not learned.offsets().any()
    for number in range(len(portfolio)):
        learned.add(number, evenly(portfolio), 0.2)
    assert learned.offsets() == pytest.approx(np.zeros(len(portfolio)), abs=1e-9)


def test_single_surprises_are_not_believed(known, portfolio):
    learned = Residuals(known, portfolio)
    for number in range(20):
        learned.add(number, evenly(portfolio), 0.0)
    learned.add(0, evenly(portfolio), 1e6)
    assert np.abs(learned.offsets()).max() < LARGEST / 5


def test_surprises_are_kept(known, portfolio, tmp_path):
    learned, again = Residuals(known, portfolio), Residuals(known, portfolio)
    for number in range(12):
        learned.add(number, evenly(portfolio), 0.1 * number)
    learned.save(tmp_path / "surprises.npz")
    again.load(tmp_path / "surprises.npz")
    np.testing.assert_array_equal(again.offsets(), learned.offsets())


def test_damaged_and_foreign_surprises_are_refused(known, portfolio, tmp_path):
    path = tmp_path / "surprises.npz"
    path.write_bytes(b"half")
    with pytest.raises(AgentError, match="damaged"):
        Residuals(known, portfolio).load(path)
    foreign = Residuals(known, portfolio)
    foreign.add(len(portfolio) - 1, evenly(portfolio), 0.0)
    foreign.save(path)
    with pytest.raises(AgentError, match="another portfolio"):
        Residuals(known, portfolio[:3]).load(path)

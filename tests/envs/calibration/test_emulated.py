"""The emulated board, calibrated in virtual time and held against what no sensor shows."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.calibration import emulated


@pytest.fixture(scope="module")
def fits():
    patch = pytest.MonkeyPatch()
    patch.setattr(emulated, "MINUTES", 2.5)
    yield [emulated.calibrated(seed) for seed in (0, 1)]
    patch.undo()


def test_latency_is_found_where_it_was_not_measured(fits):
    for fit in fits:
        assert fit.latency_mean <= 0.05
        assert fit.latency_largest <= 0.12


def test_energy_is_near_the_truth_and_within_its_interval(fits):
    assert np.mean([fit.energy_mean for fit in fits]) <= 0.05
    assert np.mean([fit.covered for fit in fits]) >= 0.9


def test_what_is_best_by_the_fit_costs_little_more_than_the_best(fits):
    for fit in fits:
        assert len(fit.regrets) == len(emulated.RATES_BPS)
        assert max(fit.regrets) <= 0.03

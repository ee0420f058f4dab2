from __future__ import annotations

import numpy as np
import pytest

from envs.calibration.fitting import nonnegative
from envs.calibration.fitting.latency_form import LatencyForm, Rows

optimize = pytest.importorskip("scipy.optimize")


@pytest.mark.parametrize("seed", range(20))
def test_the_error_is_the_least_whatever_the_units(seed):
    rng = np.random.default_rng(seed)
    n_rows, n_columns = rng.integers(3, 30), rng.integers(1, 13)
    matrix = rng.normal(size=(n_rows, n_columns)) * 10.0 ** rng.integers(-8, 8, n_columns)
    target = rng.normal(size=n_rows)
    x = nonnegative.nnls(matrix, target)
    assert (x >= 0.0).all()
    least = optimize.nnls(matrix, target)[1]
    assert np.linalg.norm(matrix @ x - target) <= least * (1 + 1e-8) + 1e-12


def test_nothing_is_found_where_nothing_helps():
    assert nonnegative.nnls(-np.eye(3), np.ones(3)) == pytest.approx(np.zeros(3))


def rows(n: int) -> Rows:
    rng = np.random.default_rng(1)
    clocks = (rng.uniform(0.3e9, 2e9, n) for _ in range(3))
    return Rows(rng.uniform(0.1, 1.0, (n, 2)), *clocks)


@pytest.mark.parametrize("is_norm_free", [True, False])
def test_a_form_is_found_again(is_norm_free):
    form, seen = LatencyForm(2, ("fixed", "cpu", "gpu", "emc"), is_norm_free), rows(60)
    x = np.array([1e-3, 0.0, 4e6, 2e6, 3e7, 1e7, 2e7, 0.0, *([2.1] if is_norm_free else [])])
    found = form.fit(seen, form.predict(x, seen), np.ones(60), None)
    unseen = rows(90)
    np.testing.assert_allclose(form.predict(found, unseen), form.predict(x, unseen), rtol=1e-4)
    if is_norm_free:
        assert form.norm(found) == pytest.approx(3.1, rel=1e-3)


def test_slopes_are_those_of_the_form():
    form, seen = LatencyForm(2, ("fixed", "cpu", "gpu", "emc"), True), rows(5)
    x = np.array([1e-3, 2e-4, 4e6, 2e6, 3e7, 1e7, 2e7, 3e6, 1.4])
    slopes = form.jacobian(x, seen)
    for place, value in enumerate(x):
        step = np.zeros_like(x)
        step[place] = 1e-6 * value
        change = form.predict(x + step, seen) - form.predict(x - step, seen)
        np.testing.assert_allclose(slopes[:, place], change / (2e-6 * value), rtol=1e-5)

from __future__ import annotations

import math

import numpy as np
import pytest

from envs.scenarios.signals import Recording, Signal, at_steps, fit, n_knots

SKEWED = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)


def white(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def test_values_have_the_marginal_that_was_asked_for():
    values = Signal(quantiles=SKEWED, correlation_time_s=2.0).values(white(2000, 200))
    shares = np.linspace(0.0, 1.0, len(SKEWED))
    np.testing.assert_allclose(np.quantile(values, shares[1:-1]), SKEWED[1:-1], rtol=0.02)
    assert values.min() >= SKEWED[0]
    assert values.max() <= SKEWED[-1]


@pytest.mark.parametrize("correlation_time_s", [0.5, 5.0, 50.0])
def test_values_remember_as_long_as_asked(correlation_time_s):
    uniform = Signal(quantiles=(0.0, 1.0), correlation_time_s=correlation_time_s)
    values = uniform.values(white(3000, 100))
    found = np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]
    # Pearson's correlation of the copula to Spearman's (Kruskal 1958).
    expected = 6.0 / math.pi * math.asin(0.5 * math.exp(-1.0 / correlation_time_s))
    assert found == pytest.approx(expected, abs=0.02)


def test_one_quantile_makes_a_constant():
    assert (Signal(quantiles=(3.5,)).values(white(10, 4)) == 3.5).all()


def test_an_infinite_correlation_time_draws_one_value_per_episode():
    values = Signal(quantiles=(0.0, 1.0)).values(white(50, 400))
    assert (values == values[0]).all()
    np.testing.assert_allclose(
        np.quantile(values[0], [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.1
    )


@pytest.mark.parametrize(
    ("quantiles", "correlation_time_s"),
    [((), 1.0), ((2.0, 1.0), 1.0), ((1.0, math.nan), 1.0), ((1.0,), 0.0), ((1.0,), math.nan)],
)
def test_an_impossible_description_is_refused(quantiles, correlation_time_s):
    with pytest.raises(ValueError, match="must be"):
        Signal(quantiles=quantiles, correlation_time_s=correlation_time_s)


def test_fit_recovers_a_drawn_signal():
    drawn = Signal(quantiles=SKEWED, correlation_time_s=4.0).values(white(200_000))
    fitted = fit(drawn, n_quantiles=len(SKEWED))
    np.testing.assert_allclose(fitted.quantiles[1:-1], SKEWED[1:-1], rtol=0.06)
    assert fitted.correlation_time_s == pytest.approx(4.0, rel=0.04)


def test_a_recording_is_replayed_and_wraps_around():
    series = tuple(float(v) for v in range(7))
    values = Recording(series=series).values(white(20, 30))
    assert (np.diff(values, axis=0) % 7 == 1).all()
    assert set(values[0]) == set(series)


def test_values_between_knots_are_linear():
    knots = np.array([[0.0, 10.0], [1.0, 20.0], [5.0, 20.0], [9.0, 0.0]])
    steps = at_steps(knots, 0.5, 5)
    np.testing.assert_allclose(steps, [[0, 10], [0.5, 15], [1, 20], [3, 20], [5, 20]])


@pytest.mark.parametrize("step_s", [0.1, 0.25, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("n_steps", [1, 7, 240])
def test_there_are_enough_knots_for_every_step(step_s, n_steps):
    knots = np.arange(float(n_knots(step_s, n_steps)))
    np.testing.assert_allclose(at_steps(knots, step_s, n_steps), np.arange(n_steps) * step_s)

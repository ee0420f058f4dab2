"""Slow drift and heat in what was measured, told from the form by random order and control points.

Both are factors on the measured values: a smooth one of the time, and one of the temperature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats

KNOTS_EVERY_S = 60.0
"""Of the drift, which is straight between; faster changes are noise."""
SLOPE_PER_KNOT = 0.02
"""By how much the drift is believed to change from knot to knot."""
PER_DEGREE = 0.003
"""Relative rise per degree Celsius that is believed possible: leakage is some 20 to 30 % of the
power of a warm chip and doubles over 20 to 30 degrees at most."""

LARGEST = 0.1
"""Relative difference from the form beyond which it is the form that is wrong, not the moment."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Logarithms of the factors on measured values; their mean over the measurement is 0.

    Attributes:
        knots_s: times, shape (k,).
        at_knots: shape (k,).
        per_degree: rise per degree Celsius.
        mean_c: temperature at which there is none.
    """

    knots_s: Floats
    at_knots: Floats
    per_degree: float
    mean_c: float

    @classmethod
    def none(cls) -> Drift:
        """Nothing changes."""
        return cls(np.zeros(1), np.zeros(1), 0.0, 0.0)

    def factor(self, began_s: Floats, temperature_c: Floats) -> Floats:
        """By what a value is larger than without drift and heat, shape (n,).

        Args:
            began_s: when it was measured, shape (n,).
            temperature_c: then; NaN where it is unknown.
        """
        warmer_c = np.nan_to_num(temperature_c - self.mean_c)
        over_time = np.interp(began_s, self.knots_s, self.at_knots)
        return np.asarray(np.exp(over_time + self.per_degree * warmer_c))

    @property
    def range(self) -> float:
        """Largest relative change over the time."""
        return float(np.exp(np.ptp(self.at_knots)) - 1.0)


def regress(log_ratio: Floats, errors: Floats, began_s: Floats, temperature_c: Floats) -> Drift:
    """Drift and heat that explain measured over fitted values.

    Args:
        log_ratio: logarithm of measured over fitted, shape (n,).
        errors: their standard errors, shape (n,).
        began_s: times, shape (n,).
        temperature_c: NaN where it is unknown.
    """
    knots_s = np.linspace(began_s.min(), began_s.max(), 2 + int(np.ptp(began_s) / KNOTS_EVERY_S))
    hats = np.stack([np.interp(began_s, knots_s, row) for row in np.eye(len(knots_s))], axis=1)
    is_known = np.isfinite(temperature_c)
    mean_c = float(np.mean(temperature_c[is_known])) if is_known.any() else 0.0
    warmer_c = np.where(is_known, temperature_c - mean_c, 0.0)
    matrix = np.concatenate([hats, warmer_c[:, None]], axis=1) / errors[:, None]
    # What is believed beforehand, as rows: knots are alike, and 0 on average; heat does little.
    steps = np.diff(np.eye(len(knots_s)), axis=0) / SLOPE_PER_KNOT
    believed = np.zeros((len(steps) + 2, matrix.shape[1]))
    believed[: len(steps), : len(knots_s)] = steps
    believed[-2, : len(knots_s)] = 1e3 * hats.mean(axis=0)
    believed[-1, -1] = 1.0 / PER_DEGREE
    credible = np.clip(log_ratio, -LARGEST, LARGEST)
    target = np.concatenate([credible / errors, np.zeros(len(believed))])
    found = np.linalg.lstsq(np.concatenate([matrix, believed]), target, rcond=None)[0]
    return Drift(knots_s, found[:-1], float(found[-1]), mean_c)

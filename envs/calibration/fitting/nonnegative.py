"""Least squares with parameters of 0 or more, in NumPy alone: boards have no SciPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats

ROUNDING = 1e-10
"""Share of the largest gradient below which a parameter at 0 is left there."""
N_STEPS = 60
"""Steps of a fit that is not linear; a good start takes less than ten."""
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-3, 1e-9, 1e9
SMALLEST_GAIN = 1e-9
"""Share of the squared error by which a step must still lower it."""


def nnls(matrix: Floats, target: Floats) -> Floats:
    """The x of 0 or more with the least `|matrix x - target|`: Lawson and Hanson's active sets.

    Args:
        matrix: shape (m, n).
        target: shape (m,).
    """
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0.0] = 1.0
    columns = matrix / scale
    n = columns.shape[1]
    x, free = np.zeros(n), np.zeros(n, dtype=np.bool_)
    gradient = columns.T @ target
    least = ROUNDING * max(float(np.abs(gradient).max(initial=0.0)), 1e-300)
    for _ in range(3 * n):
        if free.all() or gradient[~free].max() <= least:
            break
        free[int(np.argmax(np.where(free, -np.inf, gradient)))] = True
        x = _within(columns, target, x, free)
        gradient = columns.T @ (target - columns @ x)
    return np.asarray(x / scale)


def _within(columns: Floats, target: Floats, x: Floats, free: np.ndarray) -> Floats:
    """Least squares over the free parameters; those that would fall below 0 are fixed there."""
    while free.any():
        wanted = np.zeros_like(x)
        wanted[free] = np.linalg.lstsq(columns[:, free], target, rcond=None)[0]
        below = free & (wanted <= 0.0)
        if not below.any():
            return wanted
        share = np.min(x[below] / (x[below] - wanted[below] + 1e-300))
        x = x + share * (wanted - x)
        free &= x > ROUNDING * np.abs(x).max(initial=0.0)
        x[~free] = 0.0
    return np.zeros_like(x)


@dataclass(frozen=True, slots=True)
class Linearised:
    """Residuals at some parameters, and how they change with them.

    Attributes:
        residuals: weighted, shape (m,).
        jacobian: shape (m, n).
    """

    residuals: Floats
    jacobian: Floats


def fit(at: Callable[[Floats], Linearised], start: Floats, most: Floats) -> Floats:
    """Parameters between 0 and `most` with the least squared residuals near a start.

    Levenberg and Marquardt's damped steps, each of them a problem of `nnls`.

    Args:
        at: residuals and their derivatives.
        start: shape (n,).
        most: upper bounds, shape (n,).
    """
    x, damping = np.clip(start, 0.0, most), FIRST_DAMPING
    here = at(x)
    error = float(here.residuals @ here.residuals)
    for _ in range(N_STEPS):
        lengths = np.linalg.norm(here.jacobian, axis=0)
        lengths = np.maximum(lengths, 1e-12 * max(float(lengths.max(initial=0.0)), 1e-300))
        rows = np.diag(np.sqrt(damping) * lengths)
        matrix = np.concatenate([here.jacobian, rows])
        target = np.concatenate([here.jacobian @ x - here.residuals, rows @ x])
        wanted = np.minimum(nnls(matrix, target), most)
        there = at(wanted)
        new_error = float(there.residuals @ there.residuals)
        if new_error < error:
            is_over = error - new_error <= SMALLEST_GAIN * error
            x, here, error = wanted, there, new_error
            damping = max(damping / 10.0, LEAST_DAMPING)
            if is_over:
                break
        elif damping >= MOST_DAMPING:
            break
        else:
            damping *= 10.0
    return np.asarray(x)

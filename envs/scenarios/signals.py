"""Random processes of everything outside a board.

A signal is described by its marginal distribution (a table of quantiles) and by how long it
remembers (a correlation time); both can be read off a measured series by `fit`. Values are drawn
as a Gaussian copula: a first-order autoregressive process in the normal domain, mapped through
the quantile table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats

KNOT_PERIOD_S = 1.0
"""Spacing of drawn values, the resolution of the link traces; between knots values are linear."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """A stationary random process with any marginal and an exponential memory.

    Attributes:
        quantiles: values at equally spaced probabilities from 0 to 1, ascending; one value makes
            a constant.
        correlation_time_s: time after which the correlation has fallen to 1/e; `inf` draws one
            value per episode.
    """

    quantiles: tuple[float, ...]
    correlation_time_s: float = math.inf

    def __post_init__(self) -> None:
        """Check the description.

        Raises:
            ValueError: no quantiles, not finite, not ascending, or a correlation time <= 0.
        """
        values = np.asarray(self.quantiles)
        if values.size == 0 or not np.isfinite(values).all() or (np.diff(values) < 0).any():
            raise ValueError(f"quantiles must be finite and ascending, got {self.quantiles}")
        if not self.correlation_time_s > 0:
            raise ValueError(f"correlation_time_s must be > 0, got {self.correlation_time_s}")

    @property
    def is_steady(self) -> bool:
        """Whether it keeps its value throughout an episode."""
        return len(self.quantiles) == 1 or math.isinf(self.correlation_time_s)

    def values(self, white: Floats) -> Floats:
        """Turn white noise into this signal.

        Args:
            white: standard normal numbers, shape (n_knots, ...).

        Returns:
            Values at the knots, same shape.
        """
        persistence = math.exp(-KNOT_PERIOD_S / self.correlation_time_s)
        innovation = math.sqrt(1.0 - persistence**2)
        normal = np.empty_like(white)
        normal[0] = white[0]
        for k in range(1, len(white)):
            normal[k] = persistence * normal[k - 1] + innovation * white[k]
        grid = np.linspace(0.0, 1.0, len(self.quantiles))
        return np.interp(_normal_cdf(normal), grid, self.quantiles)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """A measured series, replayed from a random moment and wrapped around at its end.

    Attributes:
        series: one value per `KNOT_PERIOD_S`.
    """

    series: tuple[float, ...]

    def values(self, white: Floats) -> Floats:
        """Turn white noise of shape (n_knots, ...) into stretches of the recording."""
        start = (_normal_cdf(white[0]) * len(self.series)).astype(np.intp)
        offsets = np.arange(len(white)).reshape(-1, *([1] * (white.ndim - 1)))
        series: Floats = np.asarray(self.series, dtype=np.float64)
        stretch: Floats = series[(start + offsets) % len(series)]
        return stretch


def fit(series: Floats, n_quantiles: int = 21) -> Signal:
    """Describe a measured series, sampled every `KNOT_PERIOD_S`, as a `Signal`.

    Args:
        series: values, shape (n,), n >= 3.
        n_quantiles: size of the quantile table.
    """
    ranks = np.argsort(np.argsort(series)) / (len(series) - 1)
    lag_one = np.corrcoef(ranks[:-1], ranks[1:])[0, 1]
    # Spearman's to Pearson's correlation under a Gaussian copula (Kruskal 1958).
    persistence = min(max(2.0 * math.sin(math.pi / 6.0 * lag_one), 0.01), 0.999)
    quantiles = np.quantile(series, np.linspace(0.0, 1.0, n_quantiles))
    return Signal(
        quantiles=tuple(float(q) for q in quantiles),
        correlation_time_s=-KNOT_PERIOD_S / math.log(persistence),
    )


def at_steps(knots: Floats, step_s: float, n_steps: int) -> Floats:
    """Interpolate knot values (n_knots, ...) to control steps, shape (n_steps, ...)."""
    position = np.arange(n_steps) * (step_s / KNOT_PERIOD_S)
    left = position.astype(np.intp)
    weight = (position - left).reshape(-1, *([1] * (knots.ndim - 1)))
    return knots[left] + weight * (knots[left + 1] - knots[left])


def n_knots(step_s: float, n_steps: int) -> int:
    """Knots needed by `at_steps`."""
    return math.ceil(n_steps * step_s / KNOT_PERIOD_S) + 2


def _normal_cdf(z: Floats) -> Floats:
    """Standard normal distribution function, tanh form, absolute error < 4e-4 (Page 1977)."""
    cdf: Floats = 0.5 * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3)))
    return cdf

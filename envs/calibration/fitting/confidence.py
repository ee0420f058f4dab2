"""How far a fitted board can be believed: held-out errors and intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats
from envs.calibration.fitting.fit import BoardFit, Measured, Setting, fit_board
from envs.calibration.samples import Work

N_FOLDS = 5
N_REFITS = 60
"""Fits to samples that count by chance; of more, intervals of 95 % change by less than a tenth."""
N_DRAWS = 1000
"""Of the mean error; each is an average of numbers at hand."""
SIGMAS = 1.96
"""Of 95 %."""
SENSOR_GAIN = 0.03
"""Largest relative error of a power sensor's gain where its maker is not known to say less: an
INA3221 has 1 % (its data sheet), its shunt 1 %, and what lies between both and the board the rest.
"""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Errors on samples that were not fitted on, as shares.

    Attributes:
        measured: without drift and heat, shape (n,).
        predicted: by fits to the others, shape (n,).
        index: of the samples, shape (n,).
    """

    measured: Floats
    predicted: Floats
    index: np.ndarray

    @property
    def errors(self) -> Floats:
        """Relative errors, shape (n,)."""
        return np.asarray(np.abs(self.predicted / self.measured - 1.0))

    @property
    def mean(self) -> float:
        """Mean error."""
        return float(self.errors.mean())

    @property
    def largest(self) -> float:
        """Largest error."""
        return float(self.errors.max())

    @property
    def spread(self) -> float:
        """Root mean square of the logarithmic errors."""
        return float(np.sqrt(np.mean(np.log(self.predicted / self.measured) ** 2)))

    def interval(self, seed: int = 0) -> tuple[float, float]:
        """95 % interval of the mean error, by a bootstrap over the samples."""
        errors = self.errors
        drawn = np.random.default_rng(seed).integers(0, len(errors), (N_DRAWS, len(errors)))
        low, high = np.quantile(errors[drawn].mean(axis=1), (0.025, 0.975))
        return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Confidence:
    """A fit with everything that says how good it is.

    Attributes:
        fit: to all samples.
        refits: to samples that count by chance.
        latency: held-out errors of it.
        energy: the same of one run's energy, without the sensor's gain; None without power.
        sensor_gain: largest relative error of the power sensor's gain.
    """

    fit: BoardFit
    refits: tuple[BoardFit, ...]
    latency: HeldOut
    energy: HeldOut | None
    sensor_gain: float = SENSOR_GAIN

    @classmethod
    def of(
        cls,
        measured: Measured,
        setting: Setting,
        *,
        sensor_gain: float = SENSOR_GAIN,
        n_refits: int | None = None,
        seed: int = 0,
    ) -> Confidence:
        """Fit a board and judge the fit.

        Args:
            measured: the samples.
            setting: what is to be fitted.
            sensor_gain: largest relative error of the power sensor's gain.
            n_refits: fits for the intervals; `N_REFITS` if not given.
            seed: of what is held out and drawn.

        Raises:
            CalibrationError: too few samples.
        """
        rng = np.random.default_rng(seed)
        fit = fit_board(measured, setting)
        weights = rng.exponential(
            size=(n_refits or N_REFITS, len(measured))
        )  # the Bayesian bootstrap
        refits = tuple(fit_board(measured, setting, row, near=fit) for row in weights)
        latency, energy = _held_out(measured, fit, rng)
        return cls(fit, refits, latency, energy, sensor_gain)

    def uncertainty(self, value: Callable[[BoardFit], Floats]) -> Floats:
        """Relative standard error of a fitted value, by the refits alone.

        Args:
            value: of a fit, shape (n,).
        """
        seen = np.array([value(fit) for fit in self.refits])
        return np.asarray(np.std(np.log(np.maximum(seen, 1e-300)), axis=0))

    def energy_interval_j(self, done: Work) -> tuple[Floats, Floats]:
        """95 % interval of the energy of one run of each piece, shape (n,) each, J.

        What the refits, the form's misfit and the sensor's gain leave open.
        """
        energy_j = self.fit.energy_j(done)
        misfit = self.energy.spread if self.energy is not None else np.nan
        by_chance = np.hypot(self.uncertainty(lambda fit: fit.energy_j(done)), misfit)
        share = self.sensor_gain + SIGMAS * by_chance
        return energy_j / (1.0 + share), energy_j * (1.0 + share)


def _held_out(
    measured: Measured, fit: BoardFit, rng: np.random.Generator
) -> tuple[HeldOut, HeldOut | None]:
    """Each sample but the control points is held out once."""
    fold = rng.permutation(len(measured)) % N_FOLDS
    latency_s, energy_j = np.full(len(measured), np.nan), np.full(len(measured), np.nan)
    for number in range(N_FOLDS):
        left_out = (fold == number) & ~measured.is_control
        other = fit_board(measured, fit.setting, 1.0 - left_out)
        latency_s[left_out] = other.latency_s(measured.work)[left_out]
        energy_j[left_out] = other.energy_j(measured.work)[left_out]
    when = measured.began_s, measured.temperature_c
    seen_s = measured.latency_s / fit.latency_drift.factor(*when)
    seen_j = seen_s * measured.power_w / fit.power_drift.factor(*when)
    latency = _compared(seen_s, latency_s)
    return latency, _compared(seen_j, energy_j) if fit.power is not None else None


def _compared(measured: Floats, predicted: Floats) -> HeldOut:
    known = np.isfinite(measured) & (predicted > 0.0)
    return HeldOut(measured[known], predicted[known], np.flatnonzero(known))

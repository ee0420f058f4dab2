"""Standardisation of observations by the statistics of a training, before a network sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats
from envs.spaces import Observations

MEAN, SD = "observation.mean", "observation.sd"
"""Names of its arrays in a policy's folder."""


@dataclass(frozen=True, slots=True)
class Normaliser:
    """Mean and standard deviation of each field, as Stable-Baselines3's `VecNormalize` keeps them.

    Attributes:
        mean: of the observation, shape (n_fields,), float64.
        sd: the same, larger than zero.
        clip: largest absolute value that the network is shown.
    """

    mean: Floats
    sd: Floats
    clip: float

    def check(self, n_fields: int) -> None:
        """Refuse statistics of other observations, and what are none.

        Raises:
            ValueError: they do not fit.
        """
        for name, values in ((MEAN, self.mean), (SD, self.sd)):
            if values.shape != (n_fields,) or values.dtype != np.float64:
                raise ValueError(
                    f"{name} has shape {values.shape} of {values.dtype}, expected ({n_fields},) of "
                    f"float64"
                )
        is_whole = np.isfinite(self.mean).all() and np.isfinite(self.sd).all()
        if not (is_whole and (self.sd > 0.0).all() and 0.0 < self.clip < math.inf):
            raise ValueError("statistics of the observation are not finite or not positive")

    def __call__(self, observations: Observations) -> Observations:
        """Standardise observations of shape (.., n_fields)."""
        scaled = (observations - self.mean) / self.sd
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)

    def named(self) -> dict[str, NDArray[Any]]:
        """Its arrays by name."""
        return {MEAN: self.mean, SD: self.sd}

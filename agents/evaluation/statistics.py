"""Means and intervals of evaluation results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats

N_RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % bootstrap interval over episodes."""

    mean: float
    low: float
    high: float


class Bootstrap:
    """Resamples episodes; one instance per comparison, so that all policies share the draws."""

    def __init__(self, n_episodes: int, seed: int = 0) -> None:
        """Draw the resamples."""
        generator = np.random.default_rng(seed)
        self._picks: NDArray[np.int64] = generator.integers(
            n_episodes, size=(N_RESAMPLES, n_episodes)
        )

    def mean(self, per_episode: Floats) -> Interval:
        """Interval of the mean of one value per episode."""
        return interval(float(per_episode.mean()), per_episode[self._picks].mean(axis=1))

    def gap_closed(self, start: Floats, here: Floats, goal: Floats) -> Interval:
        """Interval of (start - here) / (start - goal) in the mean, paired over episodes."""
        a, b, c = (values[self._picks].mean(axis=1) for values in (start, here, goal))
        mean = (start.mean() - here.mean()) / (start.mean() - goal.mean())
        return interval(float(mean), (a - b) / (a - c))


def interval(mean: float, resampled: Floats) -> Interval:
    """A mean with the 95 % interval of its resamples."""
    low, high = np.quantile(resampled, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    return Interval(mean, float(low), float(high))

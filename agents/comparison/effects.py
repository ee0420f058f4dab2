"""Differences between two arms over rounds of blocks, with what each round says of them.

What is compared are ratios of totals, such as joules over requests: what a battery sees. The arms
of a round ran in the same minute and answered the same requests where those can be replayed, so
that rounds are compared within themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats


@dataclass(frozen=True, slots=True)
class Effect:
    """The first arm against the second over n rounds; leading axes are runs side by side.

    Attributes:
        value: the difference, shape (...,): of the ratios' logarithms or of the ratios, see
            `relative_effect` and `absolute_effect`; not a number where nothing was counted.
        deviation: standard deviation of what a single round says of it, shape (...,); not a number
            for less than two rounds.
        n_rounds: that it rests on.
    """

    value: Floats
    deviation: Floats
    n_rounds: int

    @property
    def standard_error(self) -> Floats:
        """Of the value, shape (...,)."""
        return np.asarray(self.deviation / math.sqrt(self.n_rounds))


def relative_effect(numerators: Floats, denominators: Floats) -> Effect:
    """Logarithm of the first arm's ratio over the second's.

    Args:
        numerators: totals of each round and arm, shape (..., n, 2).
        denominators: what they are shared by, shape (..., n, 2).
    """
    ratios, influences = _linearised(numerators, denominators)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.log(ratios[..., 0]) - np.log(ratios[..., 1])
        of_arms = influences / ratios[..., None, :]
    return _effect(value, of_arms)


def absolute_effect(numerators: Floats, denominators: Floats) -> Effect:
    """The first arm's ratio minus the second's; arguments as of `relative_effect`."""
    ratios, influences = _linearised(numerators, denominators)
    return _effect(ratios[..., 0] - ratios[..., 1], influences)


def _linearised(numerators: Floats, denominators: Floats) -> tuple[Floats, Floats]:
    """Ratios of totals, shape (..., 2), and how far each round moves them, shape (..., n, 2).

    The linearisation of a ratio of means (Cochran, Sampling Techniques, 1977, section 2.11).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = numerators.sum(axis=-2) / denominators.sum(axis=-2)
        residuals = numerators - ratios[..., None, :] * denominators
        influences = residuals / denominators.mean(axis=-2, keepdims=True)
    return ratios, influences


def _effect(value: Floats, influences: Floats) -> Effect:
    difference = influences[..., 0] - influences[..., 1]
    n = difference.shape[-1]
    deviation = difference.std(axis=-1, ddof=1) if n > 1 else np.full(difference.shape[:-1], np.nan)
    return Effect(np.asarray(value), np.asarray(deviation), n)

"""Sequential test: when two arms have been compared for long enough.

The interval after round k of K is the estimate plus and minus `width(k)` standard errors. All K of
them hold at once in 95 % of the runs, so that one may look after each round, stop when the answer
is clear, or be interrupted, and the interval shown then is right. The boundary is O'Brien and
Fleming's (Biometrics 35, 1979), which hardly costs anything in the end: a Brownian motion leaves
+-a before time 1 with a probability of at most 4 (1 - Phi(a)), by reflection, so that a normal
estimate leaves +-a sqrt(K / k) standard errors at any round with no more. As the standard error is
estimated, the boundary is taken at the same tail of Student's distribution.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from agents.comparison.effects import Effect
from envs.arrays import Floats

LEVEL = 0.95
FEWEST_ROUNDS = 3
"""Fewer say nothing of their spread."""
CLEAR_SHARE = 1 / 3
"""A difference is clear once its interval reaches no further to either side than so much of it."""
LEVEL_WITHIN = 0.01
"""Two arms are level once the interval of their relative difference lies within this, both ways."""
LITTLE_CHANCE = 0.1
"""Chance of a clear answer below which none is to be expected."""
_NORMAL = NormalDist()
_BOUND = _NORMAL.inv_cdf(1.0 - (1.0 - LEVEL) / 4.0)
_SMALLEST_TAIL = 1e-9
"""Of Student's distribution, as far as it can be told from none in double precision."""


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """When to stop within a number of rounds.

    Attributes:
        n_rounds: planned, K.
    """

    n_rounds: int

    def width(self, k: int) -> float:
        """Half the interval after round k, in standard errors; infinite for too few rounds."""
        if k < FEWEST_ROUNDS:
            return math.inf
        normal = _BOUND * math.sqrt(max(self.n_rounds / k, 1.0))
        return student_quantile(max(math.erfc(normal / math.sqrt(2.0)), _SMALLEST_TAIL), k - 1)

    def half_width(self, effect: Effect) -> Floats:
        """Half the 95 % interval of an effect, shape (...,); infinite for too few rounds."""
        width = self.width(effect.n_rounds)
        if math.isinf(width):
            return np.full_like(effect.value, np.inf)
        return np.asarray(width * effect.standard_error)

    def is_shown(self, effect: Effect) -> NDArray[np.bool_]:
        """Whether there is a difference, shape (...,): the interval leaves zero out."""
        return np.asarray(np.abs(effect.value) > self.half_width(effect))

    def is_clear(self, effect: Effect) -> NDArray[np.bool_]:
        """Whether more rounds would add little, shape (...,): a difference is known well, or none.

        Args:
            effect: a relative one.
        """
        size, half = np.abs(effect.value), self.half_width(effect)
        return np.asarray((half <= CLEAR_SHARE * size) | (size + half <= LEVEL_WITHIN))

    def rounds_to_clear(self, effect: Effect) -> int | None:
        """Rounds after which a difference of this size and spread is clear; None if beyond K."""
        left = range(effect.n_rounds, self.n_rounds + 1)

        def is_clear_after(k: int) -> bool:
            return bool(self.is_clear(Effect(effect.value, effect.deviation, k)))

        first = bisect_left(left, True, key=is_clear_after)  # once clear, it stays so
        return left[first] if first < len(left) else None

    def chance(self, effect: Effect) -> float:
        """Chance that a difference is shown after the last round, given what is known by now."""
        left = max(1.0 / effect.n_rounds - 1.0 / self.n_rounds, 0.0)
        moves = float(effect.deviation) * math.sqrt(left)
        value, bound = float(effect.value), self.smallest_shown(effect)
        if moves == 0.0:
            return float(abs(value) > bound)
        return 1.0 - _NORMAL.cdf((bound - value) / moves) + _NORMAL.cdf((-bound - value) / moves)

    def smallest_shown(self, effect: Effect) -> float:
        """Smallest difference that the last round would show at this spread."""
        last = max(self.n_rounds, effect.n_rounds)
        return self.width(last) * float(effect.deviation) / math.sqrt(last)

    @staticmethod
    def rounds_needed(effect: Effect) -> float:
        """Rounds of a plan that shows a difference of this size and spread; infinite if none is."""
        if float(effect.value) == 0.0:
            return math.inf
        return (_BOUND * float(effect.deviation) / float(effect.value)) ** 2


@cache
def student_quantile(tail: float, n_degrees: int) -> float:
    """What Student's t exceeds, to either side, with a probability of `tail`.

    Args:
        tail: probability on both sides together, from 1e-9 on.
        n_degrees: degrees of freedom, 2 or more.
    """
    low, high = 0.0, 1e6
    for _ in range(64):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _two_tails(middle, n_degrees) > tail else (low, middle)
    return high


def _two_tails(t: float, n_degrees: int) -> float:
    """P(|T| > t), by the finite series of whole degrees (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    angle = math.atan(t / math.sqrt(n_degrees))
    is_odd = n_degrees % 2 == 1
    total = term = math.cos(angle) if is_odd else 1.0
    for k in range(3 if is_odd else 2, n_degrees - 1, 2):
        term *= math.cos(angle) ** 2 * (k - 1) / k
        total += term
    inside = math.sin(angle) * total
    return 1.0 - ((angle + inside) * 2.0 / math.pi if is_odd else inside)

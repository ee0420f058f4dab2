"""Lagrangian bound: device prices that refute a period, or guide the search for a placement.

Prices are the multipliers of "no device is taken more often than it is there". All devices together
cost 1. A placement pays at most that, so where even the cheapest walk pays more there is none.
Prices are raised where the cheapest walk takes a device too often (dual ascent along a subgradient,
Polyak's step, halved where it stalls).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from partition.placement.cluster import Floats
from partition.placement.solver.stage_graph import Step, Threshold

MARGIN = 1e-9
"""By which a price must be above 1 to refute; sums are exact to less."""
_TARGET = 1.02
"""Price that steps aim at: a little above 1, where the period is refuted."""
_STALLED = 5
"""Prices that were no better, after which shorter steps are taken from the best ones."""


class Ascent:
    """Prices that get better and better.

    Args:
        threshold: the period.
        prices: (classes,) to start from; None: all alike.

    Attributes:
        prices: (classes,) the last ones that were looked at.
        best: (classes,) those under which the cheapest walk pays most.
        value: what it pays under them; above 1 refutes the period.
        steps: a placement that was met by chance; empty so far.
    """

    def __init__(self, threshold: Threshold, prices: Floats | None = None) -> None:
        self._threshold = threshold
        self._counts = threshold.choices.counts
        self._next = self._normal(np.ones(len(self._counts)) if prices is None else prices)
        self.prices = self.best = self._next
        self.value = -np.inf
        self.steps: tuple[Step, ...] = ()
        self._stride, self._stalled = 1.0, 0

    @property
    def refuted(self) -> bool:
        """Whether there is no placement within the period."""
        return self.value > 1.0 + MARGIN

    @property
    def answered(self) -> bool:
        """Whether the period was refuted, or a placement was met."""
        return self.refuted or bool(self.steps)

    def climb(self, rounds: int, in_time: Callable[[], bool] = lambda: True) -> None:
        """Change the prices some times, or until the period is answered."""
        for _ in range(rounds):
            if self.answered or not in_time():
                break
            self._once()

    def _once(self) -> None:
        self.prices = self._next
        after, before = self._threshold.price_to_go(self.prices)
        walk = self._threshold.cheapest(self.prices, after, before)
        self._stalled += 1
        if walk.price > self.value:
            self._stalled, self.value, self.best = 0, walk.price, self.prices
        over = self._threshold.overuse(walk.steps)
        if self.refuted:
            return
        if (over <= 0).all():
            self.steps = walk.steps
            return
        base = self.prices
        if self._stalled == _STALLED:
            self._stalled, self._stride, base = 0, 0.5 * self._stride, self.best
        # Price of the walk less that of all devices falls short of 0 by this much.
        step = self._stride * (_TARGET - walk.price) / float(over @ over)
        self._next = self._normal(np.maximum(base + step * over, 0.0))

    def _normal(self, prices: Floats) -> Floats:
        return np.asarray(prices / (self._counts @ prices))

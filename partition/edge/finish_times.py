"""Time that the board needs to finish a request by itself, at the clocks in force."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from partition.model.routes import Route

_SMOOTHING = 0.3
"""Weight of the latest time that was seen."""
_FORGETTING_S = 10.0
"""Time constant with which it is forgotten that the board was slower than its model: what held it
up once is over, and who never finishes here would not see that."""


class FinishTimes:
    """Follows measured over modelled times, so that a change of clocks is known before it is met.

    A time that was seen at the highest clocks says nothing of the lowest, where the same work takes
    nine times as long.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[tuple[int, bool], tuple[float, float]] = {}
        """Ratio, and when it was seen."""

    def expected_s(self, route: Route, modelled_s: float | None) -> float:
        """Time that finishing is expected to take, s; 0 where nothing is known.

        Args:
            route: of the request.
            modelled_s: at the clocks in force; None where there is no model: then it takes as long
                as it did.
        """
        if modelled_s is None:
            return self._seen.get(_key(route), (0.0, 0.0))[0]
        return self._ratio(route) * modelled_s

    def finished(self, route: Route, took_s: float, modelled_s: float | None) -> None:
        """Take in how long it took, against the model at the clocks it began with."""
        ratio = took_s / (modelled_s or 1.0)
        before = self._seen.get(_key(route), (ratio, 0.0))[0]
        self._seen[_key(route)] = (before + _SMOOTHING * (ratio - before), self._clock())

    def _ratio(self, route: Route) -> float:
        ratio, at_s = self._seen.get(_key(route), (1.0, 0.0))
        return 1.0 + (ratio - 1.0) * math.exp(-(self._clock() - at_s) / _FORGETTING_S)


def _key(route: Route) -> tuple[int, bool]:
    """Routes with the same one finish alike: by the tail, or by the light branch."""
    return route.split, route.xi == 1.0

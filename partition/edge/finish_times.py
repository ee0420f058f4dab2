"""Time that the board needs to finish a request by itself, at the clocks in force."""

from __future__ import annotations

from partition.model.routes import Route

_SMOOTHING = 0.1
"""How fast it is forgotten that finishing took longer once than it does now."""


class FinishTimes:
    """Follows measured over modelled times, so that a change of clocks is known before it is met.

    A time that was seen at the highest clocks says nothing of the lowest, where the same work takes
    nine times as long.
    """

    def __init__(self) -> None:
        self._ratio: dict[tuple[int, bool], float] = {}

    def expected_s(self, route: Route, modelled_s: float | None) -> float:
        """Time that finishing is expected to take, s; 0 where nothing is known.

        Args:
            route: of the request.
            modelled_s: at the clocks in force; None where there is no model: then it takes as long
                as it did last.
        """
        if modelled_s is None:
            return self._ratio.get(_key(route), 0.0)
        return self._ratio.get(_key(route), 1.0) * modelled_s

    def finished(self, route: Route, took_s: float, modelled_s: float | None) -> None:
        """Take in how long it took, against the model at the clocks it began with."""
        ratio = took_s / (modelled_s or 1.0)
        before = self._ratio.get(_key(route), ratio)
        self._ratio[_key(route)] = max(ratio, before + _SMOOTHING * (ratio - before))


def _key(route: Route) -> tuple[int, bool]:
    """Routes with the same one finish alike: by the tail, or by the light branch."""
    return route.split, route.xi == 1.0

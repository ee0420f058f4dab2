"""The thermal guard: near the limit, clocks only go down.

On a hot board whoever decides may ask for what he likes: he gets current-or-lower clocks, and what
was really set is what is reported. Merely keeping the clocks may not cool (zTT's guard cools by
going strictly lower), so that within half the margin each step goes down one operating point.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hw.base import Board, OperatingPoint

DEFAULT_MARGIN_C = 5.0


@dataclass(slots=True)
class ThermalGuard:
    """Lowers requests of a hot board.

    Attributes:
        margin_c: distance to the board's temperature limit at which it steps in, degrees C.
    """

    margin_c: float = DEFAULT_MARGIN_C
    _held_hz: dict[str, int] = field(default_factory=dict)

    def limit(self, board: Board, point: OperatingPoint) -> OperatingPoint:
        """The operating point to ask for instead."""
        left_c = board.temperature_limit_c - board.temperature_c()
        if left_c > self.margin_c:
            self._held_hz = dict(point)
            return point
        allowed = {}
        for name, freq_hz in point.items():
            held_hz = self._held_hz.get(name)
            if held_hz is None:
                held_hz = board.domains[name].read_hz()
            if left_c <= self.margin_c / 2:
                held_hz = _next_lower(board.domains[name].available_hz, held_hz)
            allowed[name] = min(freq_hz, held_hz)
        self._held_hz = allowed
        return allowed


def _next_lower(points_hz: tuple[int, ...], freq_hz: int) -> int:
    return max((hz for hz in points_hz if hz < freq_hz), default=points_hz[0])

"""The thermal guard: near the limit, clocks only go down.

The rule is `points_left`. `ThermalGuard` lowers by it what is asked of a board;
`agents.policy.thermal_mask.ThermalActionMask` leaves a policy only what it allows.

On a hot board a policy may ask for any clock: it gets its current or a lower one, and what
was really set is what is reported. Merely keeping the clocks may not cool (zTT's guard cools by
going strictly lower), so that within half the margin each step goes down one operating point.

A board that does not report its temperature may be hot: the last one known counts for a moment, and
then each step goes down one operating point until a sensor answers again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hw.base import Board, OperatingPoint
from hw.errors import HardwareError
from hw.outage import Outage

DEFAULT_MARGIN_C = 5.0
KNOWN_FOR_S = 2.0
"""Time for which the last temperature counts. A failed read or two pass within it, and a chip warms
with a time constant of 1.5 s and more (the device models' fast node), so that what happens
meanwhile stays within the reach of the kernel's own throttling."""
ROUNDING = 1e-3
"""Share by which a clock read back may lie above its operating point: observations are float32."""

Floats = npt.NDArray[np.float64]


def is_near(left_c: Floats | float, margin_c: float) -> npt.NDArray[np.bool_]:
    """Whether boards are so near their temperature limit that no clock may be raised.

    Args:
        left_c: distances to the limit, degrees C, negative beyond it; any shape.
        margin_c: distance from which on a board is hot, degrees C.
    """
    return np.asarray(left_c <= margin_c)


def points_left(
    points_hz: Floats, held_hz: Floats | float, near: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Which operating points boards may have: all, and near the limit none above the present one.

    zTT (Kim et al., MobiSys 2021) guards by the same rule. The lowest point is always left.

    Args:
        points_hz: ascending, shape (k,).
        held_hz: clocks in force, shape (n, 1), or one of a single board.
        near: of each board, shape (n, 1), see `is_near`; or of a single one.

    Returns:
        Shape (n, k); (k,) of a single board.
    """
    is_lowest = np.arange(len(points_hz)) == 0
    return np.asarray((points_hz <= (1.0 + ROUNDING) * held_hz) | is_lowest | ~near)


@dataclass(slots=True)
class ThermalGuard:
    """Lowers requests of a hot board, and of one that may be hot for all that is known.

    Attributes:
        margin_c: distance to the board's temperature limit at which it steps in, degrees C.
        clock: present time, s.
    """

    margin_c: float = DEFAULT_MARGIN_C
    clock: Callable[[], float] = time.monotonic
    _held_hz: dict[str, int] = field(default_factory=dict)
    _known: tuple[float, float] | None = None
    _blindness: Outage = field(init=False)

    def __post_init__(self) -> None:
        self._blindness = Outage(
            "reading the distance to the temperature limit",
            "clocks go down step by step, for the temperature is unknown",
            clock=self.clock,
        )

    def limit(self, board: Board, point: OperatingPoint) -> OperatingPoint:
        """The operating point to ask for instead; a sensor that fails is no error."""
        left_c = self._left_c(board)
        near = is_near(left_c, self.margin_c)
        if not near:
            self._held_hz = dict(point)
            return point
        allowed = {}
        for name, freq_hz in point.items():
            points_hz = board.domains[name].available_hz
            held_hz = self._held_hz.get(name)
            if held_hz is None:
                held_hz = _present_hz(board, name)
            if left_c <= self.margin_c / 2:
                held_hz = _next_lower(points_hz, held_hz)
            left = points_left(np.array(points_hz, dtype=np.float64), held_hz, near)
            allowed[name] = min(freq_hz, points_hz[int(np.flatnonzero(left)[-1])])
        self._held_hz = allowed
        return allowed

    def _left_c(self, board: Board) -> float:
        """Distance to the limit, degrees C; none where it is not known."""
        now_s = self.clock()
        try:
            left_c = board.margin_c()
        except HardwareError as error:
            if self._known is not None and now_s - self._known[0] <= KNOWN_FOR_S:
                return self._known[1]
            self._blindness.failed(error)
            return 0.0
        self._blindness.worked()
        self._known = now_s, left_c
        return left_c


def _present_hz(board: Board, name: str) -> int:
    """Clock in force, Hz; the lowest one where that cannot be read either."""
    domain = board.domains[name]
    try:
        return domain.read_hz()
    except HardwareError:
        return domain.available_hz[0]


def _next_lower(points_hz: tuple[int, ...], freq_hz: int) -> int:
    return max((hz for hz in points_hz if hz < freq_hz), default=points_hz[0])

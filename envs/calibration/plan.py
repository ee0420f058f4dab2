"""Choice of what to measure: the points that tell most of a board, for the time that they take.

A D-optimal plan for the form alone repeats a handful of extreme points and never sees where the
form is wrong; on the TX2's tables it is worse than chance. So the plan knows that the form is
wrong by a few percent, by an amount that neighbouring points share (a Gaussian process, as in
Sacks et al., Statistical Science 1989), and chooses greedily what shrinks the mean variance of all
predictions most (I-optimality).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats

NOISE = 0.01
"""Relative error of one measurement, of latency and of power alike."""
MISFIT = 0.03
"""Relative error of the form. The fits to the TX2 are off by 0.3 to 6 % (`python -m hw.replay`)."""
REACH = 0.5
"""Distance over which the form is wrong in the same way, where each range is 2 long."""
UNKNOWN = 10.0
"""Relative uncertainty of a parameter before anything is measured."""


def relative_slopes(jacobian: Floats, x: Floats, predicted: Floats) -> Floats:
    """Change of the logarithm of each value with the logarithm of each parameter.

    Args:
        jacobian: change of the values with the parameters, shape (n, p).
        x: parameters, shape (p,).
        predicted: values, shape (n,).
    """
    return jacobian * x / predicted[:, None]


def places(ranges: Sequence[Floats]) -> Floats:
    """Where points lie in their ranges, -1 to 1 each, shape (n, r); constant ranges are left out.

    Args:
        ranges: clocks and sizes of all points, shape (n,) each.
    """
    found = []
    for values in ranges:
        logs = np.log(np.maximum(values, 1e-12))
        span = float(np.ptp(logs))
        if span > 0.0:
            found.append(2.0 * (logs - logs.min()) / span - 1.0)
    return np.stack(found, axis=1) if found else np.zeros((len(ranges[0]), 0))


class Quantity:
    """What is unknown of one measured quantity at all points.

    Args:
        slopes: relative, see `relative_slopes`, shape (n, p).
        points: see `places`, shape (n, r).
        group: of each point; the form is wrong in another way in another group, shape (n,).
        is_shown: whether measuring the point shows the quantity, shape (n,).
    """

    def __init__(
        self, slopes: Floats, points: Floats, group: NDArray[Any], is_shown: NDArray[np.bool_]
    ) -> None:
        squares = np.sum(points**2, axis=1)
        apart = np.maximum(squares[:, None] + squares - 2.0 * points @ points.T, 0.0)
        alike = group[:, None] == group
        self._covariance = UNKNOWN**2 * slopes @ slopes.T + alike * (
            MISFIT**2 * np.exp(-0.5 * apart / REACH**2)
        )
        self._is_shown = is_shown

    def gains(self) -> Floats:
        """By how much measuring each point would shrink the mean variance, shape (n,)."""
        covariance = self._covariance[self._is_shown]
        shrunk = np.mean(covariance**2, axis=0) / (np.diag(self._covariance) + NOISE**2)
        return np.where(self._is_shown, shrunk, 0.0)

    def measure(self, index: int) -> None:
        """Take in that a point is measured."""
        if self._is_shown[index]:
            column = self._covariance[:, index]
            self._covariance = self._covariance - np.outer(
                column, column / (column[index] + NOISE**2)
            )


class Plan:
    """What was chosen so far, and what each other point would add.

    Args:
        quantities: that are measured.
        costs: of each point, in any unit, shape (n,).

    Attributes:
        chosen: indices of points in the order in which they were chosen.
    """

    def __init__(self, quantities: Sequence[Quantity], costs: Floats) -> None:
        self._quantities, self._costs = quantities, costs
        self.chosen: list[int] = []

    def add(self, index: int) -> None:
        """Choose a point, once more if it was chosen already."""
        self.chosen.append(index)
        for quantity in self._quantities:
            quantity.measure(index)

    def best(self, *, is_new: bool) -> int:
        """The point that tells most for its cost.

        Args:
            is_new: leave out those that were chosen already.
        """
        gains = sum(quantity.gains() for quantity in self._quantities) / self._costs
        if is_new:
            gains[self.chosen] = -np.inf
        return int(np.argmax(gains))


def extremes(points: Floats) -> list[int]:
    """Indices of the points with all ranges at their highest, and at their lowest."""
    ends = (np.sum(np.abs(end - points), axis=1) for end in (1.0, -1.0))
    return list(dict.fromkeys(int(np.argmin(distance)) for distance in ends))

"""Thermal action mask: near the throttling point no clock is raised, by construction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats
from envs.plant import Axis
from envs.spaces import ObservationEncoder, ObservationField, Observations
from hw.boards.guard import is_near, points_left


class ThermalActionMask:
    """Which choices a hot board leaves a policy, by the rule of `hw.boards.guard`."""

    def __init__(
        self, axes: Sequence[Axis], fields: tuple[ObservationField, ...], margin_c: float
    ) -> None:
        """Prepare for a layout.

        Args:
            axes: clocks, then the route.
            fields: of the observation.
            margin_c: distance to the throttling temperature at which the mask sets in.
        """
        self._row = [f.name for f in fields].index("temperature_margin_c")
        self._margin, self._margin_c = fields[self._row], margin_c
        self._encoder = ObservationEncoder(fields)
        self._tables = [np.array(axis.values) for axis in axes[:-1]]
        self._n_routes = len(axes[-1].values)

    def allowed(self, observations: Observations) -> NDArray[np.bool_]:
        """Choices of each axis that are left, shape (n, sum of the axes' sizes)."""
        near = self._near(observations)[:, None]
        clocks_hz = self._encoder.decode(observations).clocks_hz
        free = [
            points_left(table, clocks_hz[:, k, None], near) for k, table in enumerate(self._tables)
        ]
        free.append(np.ones((len(observations), self._n_routes), dtype=np.bool_))
        return np.concatenate(free, axis=1)

    def _near(self, observations: Observations) -> NDArray[np.bool_]:
        low_c, high_c = self._margin.low, self._margin.high
        shares: Floats = 0.5 * (observations[..., self._row].astype(np.float64) + 1.0)
        return is_near(low_c + shares * (high_c - low_c), self._margin_c)

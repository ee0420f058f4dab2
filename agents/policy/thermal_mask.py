"""Near the throttling point no clock is raised: a constraint by construction, not by penalty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.plant import Axis
from envs.spaces import ObservationEncoder, ObservationField, Observations


class ThermalGuard:
    """Which choices a hot board leaves: the clocks in force and lower ones (zTT, MobiSys 2021)."""

    def __init__(
        self, axes: Sequence[Axis], fields: tuple[ObservationField, ...], margin_c: float
    ) -> None:
        """Prepare for a layout.

        Args:
            axes: clocks, then the route.
            fields: of the observation.
            margin_c: distance to the throttling temperature at which the guard sets in.
        """
        names = [f.name for f in fields]
        self._row = names.index("temperature_margin_c")
        described = fields[self._row]
        share = (margin_c - described.low) / (described.high - described.low)
        self._threshold = 2.0 * share - 1.0
        self._encoder = ObservationEncoder(fields)
        self._tables = [np.array(axis.values) for axis in axes[:-1]]
        self._n_routes = len(axes[-1].values)

    def is_near(self, observation: NDArray[np.float32]) -> bool:
        """Whether one board is near the limit."""
        return bool(observation[self._row] < self._threshold)

    def allowed(self, observations: Observations) -> NDArray[np.bool_]:
        """Choices of each axis that are left, shape (n, sum of the axes' sizes)."""
        near = observations[:, self._row] < self._threshold
        clocks_hz = self._encoder.decode(observations).clocks_hz
        free = []
        for k, table in enumerate(self._tables):
            # Observations are float32, so that a clock read back may be rounded.
            limit_hz = 1.001 * clocks_hz[:, k, None]
            lower = (table <= limit_hz) | (np.arange(len(table)) == 0)
            free.append(lower | ~near[:, None])
        free.append(np.ones((len(observations), self._n_routes), dtype=np.bool_))
        return np.concatenate(free, axis=1)

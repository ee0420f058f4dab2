"""Observation and action spaces: readings to observations, actions to indices, as on a board."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import ActionError
from envs.plant import Axis, Indices, Layout, Readings

Observations = NDArray[np.float32]
READING_NAMES = frozenset(f.name for f in fields(Readings))


@dataclass(frozen=True, slots=True)
class ObservationField:
    """One entry of the observation.

    Attributes:
        name: field of `Readings`, or `<domain>_hz`.
        unit: SI unit, "1" if none.
        low: physical value shown as -1; lower values are clipped.
        high: physical value shown as 1; higher values are clipped.
        log: spread the decades evenly rather than the values.
    """

    name: str
    unit: str
    low: float
    high: float
    log: bool = False


_FIELDS = (
    ObservationField("link_bps", "bit/s", 1e5, 1e9, log=True),
    ObservationField("link_age_s", "s", 0.0, 2.0),
    ObservationField("rtt_s", "s", 1e-4, 1.0, log=True),
    ObservationField("server_idle", "1", 0.01, 1.0, log=True),
    ObservationField("server_flops_per_s", "FLOP/s", 1e9, 1e13, log=True),
    ObservationField("arrival_hz", "1/s", 0.1, 1e3, log=True),
    ObservationField("arrival_scv", "1", 0.0, 1.0),
    ObservationField("backlog", "1", 0.0, 4.0),
    ObservationField("latency_target_s", "s", 1e-3, 100.0, log=True),
    ObservationField("eta", "1", 0.0, 1.0),
    ObservationField("radio_w", "W", 0.0, 6.0),
    ObservationField("temperature_margin_c", "degC", -10.0, 50.0),
    ObservationField("latency_s", "s", 1e-3, 10.0, log=True),
    ObservationField("edge_share", "1", 0.0, 1.0),
    ObservationField("decision_s", "s", 1e-5, 1.0, log=True),
    ObservationField("latency_factor", "1", 0.25, 4.0, log=True),
    ObservationField("away_factor", "1", 0.1, 10.0, log=True),
    ObservationField("power_factor", "1", 0.5, 2.0, log=True),
    ObservationField("busy", "1", 0.0, 1.0),
    ObservationField("battery_level", "1", 0.0, 1.0),
)


def observation_fields(layout: Layout) -> tuple[ObservationField, ...]:
    """List the observation of a plant; its bounds are fixed, not running statistics."""
    clocks = (
        ObservationField(f"{axis.name}_hz", "Hz", 0.0, axis.values[-1]) for axis in layout.axes[:-1]
    )
    return (*_FIELDS, ObservationField("power_w", "W", 0.0, layout.max_power_w), *clocks)


class ObservationEncoder:
    """Turns readings into observations in [-1, 1], shape (n, n_fields), float32."""

    def __init__(self, described: tuple[ObservationField, ...]) -> None:
        """Prepare the bounds of the fields."""
        self.fields = described
        self._log_rows = [row for row, f in enumerate(described) if f.log]
        self._floor = np.array([f.low for f in described if f.log])[:, None]
        self._n_named = sum(f.name in READING_NAMES for f in described)
        low = np.array([math.log(f.low) if f.log else f.low for f in described])
        high = np.array([math.log(f.high) if f.log else f.high for f in described])
        self._scale = (2.0 / (high - low))[:, None]
        self._shift = (-1.0 - 2.0 * low / (high - low))[:, None]

    def encode(self, readings: Readings) -> Observations:
        """Encode readings of n boards."""
        named = self.fields[: self._n_named]
        physical = np.empty((len(self.fields), len(readings.link_bps)))
        for row, f in enumerate(named):
            physical[row] = getattr(readings, f.name)
        physical[len(named) :] = readings.clocks_hz.T
        logs = self._log_rows
        physical[logs] = np.log(np.maximum(physical[logs], self._floor))
        physical *= self._scale
        physical += self._shift
        np.clip(physical, -1.0, 1.0, out=physical)
        return np.ascontiguousarray(physical.T, dtype=np.float32)

    def decode(self, observations: Observations) -> Readings:
        """Undo `encode`, so that a rule can read physical values; what was clipped stays so.

        Args:
            observations: shape (n, n_fields).
        """
        physical = (observations.T.astype(np.float64) - self._shift) / self._scale
        physical[self._log_rows] = np.exp(physical[self._log_rows])
        named = {f.name: physical[row] for row, f in enumerate(self.fields[: self._n_named])}
        return Readings(**named, clocks_hz=np.ascontiguousarray(physical[self._n_named :].T))


class ActionDecoder:
    """Turns actions of either space into indices, one per axis."""

    def __init__(self, axes: tuple[Axis, ...]) -> None:
        """Remember the size of each axis."""
        self.sizes = np.array([len(axis.values) for axis in axes], dtype=np.int64)

    def from_indices(self, actions: NDArray[np.integer]) -> Indices:
        """Check indices, shape (n, n_axes).

        Raises:
            ActionError: wrong shape, not integers, or an index outside its axis.
        """
        self._check_shape(actions)
        if not np.issubdtype(actions.dtype, np.integer):
            raise ActionError(f"actions are {actions.dtype}; give integer indices")
        if (actions < 0).any() or (actions >= self.sizes).any():
            raise ActionError(f"an index is outside the axes' sizes {self.sizes.tolist()}")
        return actions.astype(np.int64, copy=False)

    def from_box(self, actions: NDArray[np.floating]) -> Indices:
        """Snap actions in [-1, 1], shape (n, n_axes), to the nearest of equal bins.

        Raises:
            ActionError: wrong shape or not finite.
        """
        self._check_shape(actions)
        share = 0.5 * (np.asarray(actions, dtype=np.float64) + 1.0)
        if not np.isfinite(share).all():
            raise ActionError("an action is not finite; the policy's weights may be damaged")
        return np.clip((share * self.sizes).astype(np.int64), 0, self.sizes - 1)

    def _check_shape(self, actions: NDArray[Any]) -> None:
        if actions.ndim != 2 or actions.shape[1] != len(self.sizes):
            raise ActionError(f"actions have shape {actions.shape}; give (n, {len(self.sizes)})")

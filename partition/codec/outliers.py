"""Outliers: the few values of a row that are set aside, so that levels stay fine for the others.

A range from the smallest to the largest value spends its levels on the way to a single value far
away: one of 1e6 among normal numbers rounds all of them to one level. Transformers have such
values ("massive activations", Sun et al., arXiv 2402.17762) and need them, so they are sent as they
are, each with its position, and the others are quantised as if they were not there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from partition.codec.quantise import (
    MIN_ROW_VALUES,
    NARROW,
    BoolArray,
    Float32Array,
    Levels,
    Uint8Array,
    from_levels,
    to_levels,
)

Uint32Array = npt.NDArray[np.uint32]

OUTLIER_BYTES = 8
"""uint32 position and float32 value."""
_FAR = 0.25
"""Share of the levels: what lies further from their mean is far. Without it half of them are left
unused."""
_ROUNDS = 8
"""Outliers of outliers: each round leaves half the range at most."""
_WORTH = 2.0
"""The others' mean squared error must fall by more than this, else nothing is set aside: zeros, for
instance, are exact however far the other values lie."""
_ROUNDING = 1e-6
"""Root of a mean squared error, over the largest of the others, that is not worth lowering."""


@dataclass(frozen=True, slots=True)
class Outliers:
    """Values that cross as they are; their own levels are 0."""

    positions: Uint32Array
    """(m,), ascending, in the tensor of kept channels read row by row."""
    values: Float32Array
    """(m,)."""


def most_of_row(n_values: int) -> int:
    """Most values of a row of so many that are set aside."""
    return 1 + math.floor(n_values * NARROW) if n_values >= MIN_ROW_VALUES else 0


def set_aside(rows: Float32Array, levels: Levels, top: int) -> Outliers | None:
    """Find outliers in the narrow rows of a tensor and give its other values finer levels.

    Args:
        rows: (rows, n), C-contiguous.
        levels: of `rows`; changed in place.
        top: the highest level.
    """
    if levels.narrow is None:
        return None
    suspects = np.flatnonzero(levels.narrow)
    found = _far(levels.codes[suspects], top)
    is_one = found.any(axis=1)
    if not is_one.any():
        return None
    suspects = suspects[is_one]
    few = rows[suspects]
    before = Levels(levels.codes[suspects], levels.scale[suspects], levels.zero[suspects], None)
    far, others, after = _split(few, before, found[is_one], top)
    largest = np.maximum(np.abs(after.zero), np.abs(after.zero + after.scale * np.float32(top)))
    unit = np.maximum(largest, np.finfo(np.float32).tiny)[:, None]
    better = _squares(others, before, far, unit) > (
        _WORTH * _squares(others, after, far, unit) + rows.shape[1] * _ROUNDING**2
    )
    if not better.any():
        return None
    chosen = suspects[better]
    after.codes[far] = 0
    levels.codes[chosen] = after.codes[better]
    levels.scale[chosen] = after.scale[better]
    levels.zero[chosen] = after.zero[better]
    row, column = np.nonzero(far[better])
    positions = chosen[row] * rows.shape[1] + column
    return Outliers(positions.astype(np.uint32), rows[chosen[row], column])


def _far(codes: Uint8Array, top: int) -> BoolArray:
    """Which levels of each row are far from their mean; none of a row where they are not few."""
    n_values = codes.shape[1]
    mean = np.add.reduce(codes, axis=1, dtype=np.float32, keepdims=True) / np.float32(n_values)
    least = np.ceil(np.maximum(mean - _FAR * top, 0)).astype(np.uint8)
    largest = np.minimum(mean + _FAR * top, top).astype(np.uint8)
    found = (codes < least) | (codes > largest)
    found &= np.count_nonzero(found, axis=1, keepdims=True) <= most_of_row(n_values)
    return found


def _split(
    rows: Float32Array, levels: Levels, found: BoolArray, top: int
) -> tuple[BoolArray, Float32Array, Levels]:
    """Which values of each row are far from the others, rows without them, and levels of these.

    Args:
        rows: (rows, n).
        levels: of `rows`.
        found: the first that are far.
        top: the highest level.
    """
    far, others = np.zeros_like(found), rows
    most, every = most_of_row(rows.shape[1]), np.arange(len(rows))
    for _ in range(_ROUNDS):
        near = rows[every, found.argmin(axis=1)]  # the first that is not far
        without = np.where(found, near[:, None], rows)
        finer = to_levels(without, top)
        if finer is None:  # near the largest number, rounding of a smaller range may be beyond it
            break
        far, others, levels = found, without, finer
        found = far | _far(levels.codes, top)
        found &= np.count_nonzero(found, axis=1, keepdims=True) <= most
        found |= far
        if np.array_equal(found, far):
            break
    return far, others, levels


def _squares(
    rows: Float32Array, levels: Levels, far: BoolArray, unit: Float32Array
) -> Float32Array:
    """Sums over each row of squared errors in `unit`, those of far values left out."""
    error = np.empty_like(rows)
    from_levels(levels.codes, levels.scale, levels.zero, error)
    error -= rows
    error[far] = 0
    with np.errstate(over="ignore"):  # more than any number is more
        error /= unit
        return np.asarray(np.einsum("ij,ij->i", error, error))

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
    from_levels,
    to_levels,
)

Uint32Array = npt.NDArray[np.uint32]

OUTLIER_BYTES = 8
"""uint32 position and float32 value."""
_FAR = 0.25
"""Share of the range: what lies further from the mean is far. Without it the range is halved."""
_ROUNDS = 8
"""Outliers of outliers: each round leaves half the range at most."""
_WORTH = 2.0
"""The others' mean squared error must fall by more than this, else nothing is set aside: zeros, for
instance, are exact however far the other values lie."""
_ROUNDING = 1e-6
"""Root of a mean squared error, over the largest of the others, that is not worth lowering."""


@dataclass(frozen=True, slots=True)
class Outliers:
    """Values that cross as they are."""

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
    few = np.ascontiguousarray(rows[suspects])
    far, others = _split(few)
    finer = to_levels(others, top)
    if finer is None:
        return None
    before = Levels(levels.codes[suspects], levels.scale[suspects], levels.zero[suspects], None)
    largest = np.abs(others).max(axis=1).astype(np.float64)
    least = rows.shape[1] * (_ROUNDING * largest) ** 2
    better = _squared_error(few, before, far) > _WORTH * _squared_error(few, finer, far) + least
    if not better.any():
        return None
    chosen = suspects[better]
    levels.codes[chosen] = finer.codes[better]
    levels.scale[chosen] = finer.scale[better]
    levels.zero[chosen] = finer.zero[better]
    row, column = np.nonzero(far[better])
    positions = chosen[row] * rows.shape[1] + column
    return Outliers(positions.astype(np.uint32), rows[chosen[row], column])


def _split(rows: Float32Array) -> tuple[BoolArray, Float32Array]:
    """Which values of each row are far from all others, and the rows without them."""
    far = np.zeros(rows.shape, np.bool_)
    others = rows
    most = most_of_row(rows.shape[1])
    for _ in range(_ROUNDS):
        low = others.min(axis=1, keepdims=True)
        span = others.max(axis=1, keepdims=True) - low
        # Within 0 and 1, as the sum of large numbers would overflow.
        work = (others - low) / np.where(span > 0, span, 1)
        found = far | (np.abs(work - work.mean(axis=1, keepdims=True)) > _FAR)
        found &= np.count_nonzero(found, axis=1, keepdims=True) <= most
        found |= far
        if (found == far).all():
            break
        far = found
        least = np.where(far, np.inf, rows).min(axis=1, keepdims=True)
        others = np.where(far, least, rows).astype(np.float32)
    return far, others


def _squared_error(rows: Float32Array, levels: Levels, far: BoolArray) -> npt.NDArray[np.float64]:
    """Of the values that are not far, summed over each row."""
    decoded = np.empty_like(rows)
    from_levels(levels.codes, levels.scale, levels.zero, decoded)
    error = np.where(far, 0.0, decoded.astype(np.float64) - rows)
    return np.asarray((error**2).sum(axis=1))

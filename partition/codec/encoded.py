"""A quantised tensor, and how many bytes it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from partition.codec import quantisers
from partition.codec.outliers import Outliers, most_of_row
from partition.codec.quantise import Float32Array, Uint8Array
from partition.errors import WireError

Uint16Array = npt.NDArray[np.uint16]

PARAMETER_BYTES = 8
"""One float32 scale and one float32 zero per group."""
MIN_DIMS, MAX_DIMS = 2, 6
FLOAT32, FLOAT16 = np.dtype(np.float32), np.dtype(np.float16)
QUANTISED_TYPES = frozenset((FLOAT32, FLOAT16))
"""Decoding gives the same type back."""
MAX_CHANNELS = 2**16
"""Channels of a tensor of which some are left out: their indices are uint16."""
# Below this many values per channel, the parameters of a channel cost more than they save.
_MIN_VALUES_PER_GROUP = 32


@dataclass(frozen=True, slots=True)
class Encoded:
    """A quantised tensor: `value = level * scale + zero`, per group."""

    shape: tuple[int, ...]
    """(N, C, ...) of the tensor that decoding gives, channels that were left out included."""
    bits: int
    """Of a level; which quantiser made them."""
    payload: Uint8Array
    """(groups, bytes per group)."""
    scale: Float32Array
    """(groups,)."""
    zero: Float32Array
    """(groups,): the value that level 0 stands for."""
    channels: Uint16Array | None = None
    """Ascending indices of the channels that were kept; None: all. The others decode to 0."""
    outliers: Outliers | None = None
    """Values that levels do not stand for, at least one."""
    dtype: np.dtype[Any] = FLOAT32
    """Of the tensor that decoding gives: float32 or float16."""

    @property
    def kept_shape(self) -> tuple[int, ...]:
        """(N, channels kept, ...)."""
        if self.channels is None:
            return self.shape
        return (self.shape[0], len(self.channels), *self.shape[2:])

    @property
    def payload_shape(self) -> tuple[int, int]:
        """(groups, bytes per group) of the payload."""
        return payload_shape(self.kept_shape, self.bits)


def is_feature_map(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether a tensor crosses quantised, and not as it is.

    Token ids, masks, scalars, float64 and the tensors of networks that are quantised themselves
    cross as they are.
    """
    return dtype in QUANTISED_TYPES and MIN_DIMS <= len(shape) <= MAX_DIMS


def group_count(shape: tuple[int, ...]) -> int:
    """Number of scales of a tensor (N, C, ...): N * C, or N where a channel holds few values.

    Each sample has its own: what it decodes to does not depend on the rest of its batch.
    """
    return shape[0] * (shape[1] if math.prod(shape[2:]) >= _MIN_VALUES_PER_GROUP else 1)


def payload_shape(shape: tuple[int, ...], bits: int) -> tuple[int, int]:
    """Groups, and bytes per group, of a tensor (N, C, ...)."""
    groups = group_count(shape)
    return groups, quantisers.of_bits(bits).row_bytes(math.prod(shape) // groups)


def encoded_bytes(shape: tuple[int, ...], bits: int = 8) -> int:
    """Payload and parameters of an encoded tensor of `shape` without outliers."""
    groups, row_bytes = payload_shape(shape, bits)
    return groups * (row_bytes + PARAMETER_BYTES)


def most_outliers(shape: tuple[int, ...]) -> int:
    """Most outliers of a tensor (N, C, ...)."""
    groups = group_count(shape)
    return groups * most_of_row(math.prod(shape) // groups)


def check_channels(channels: Uint16Array, n_channels: int) -> None:
    """Refuse a list of kept channels that is empty, not ascending or out of range.

    Raises:
        WireError: it is.
    """
    if channels.ndim != 1 or not 0 < len(channels) <= n_channels <= MAX_CHANNELS:
        raise WireError(f"{channels.size} channels kept of {n_channels}: keep 1 to all of them")
    if int(channels[-1]) >= n_channels or (channels[1:] <= channels[:-1]).any():
        raise WireError(f"channels kept are not ascending numbers below {n_channels}")


def check_encoded(encoded: Encoded) -> None:
    """Refuse a tensor whose parts do not fit each other: numpy might stretch them.

    Raises:
        WireError: they do not.
    """
    groups, row_bytes = encoded.payload_shape
    payload, scale, zero = encoded.payload, encoded.scale, encoded.zero
    if not (
        payload.shape == (groups, row_bytes)
        and scale.shape == zero.shape == (groups,)
        and payload.dtype == np.uint8
        and scale.dtype == zero.dtype == FLOAT32
        and all(array.flags.c_contiguous for array in (payload, scale, zero))
    ):
        raise WireError(
            f"tensor {encoded.shape} of {encoded.bits} bits has a payload of {payload.dtype.name} "
            f"{payload.shape}, scales {scale.shape} and zeros {zero.shape}"
        )
    if encoded.dtype not in QUANTISED_TYPES:
        raise WireError(f"tensor {encoded.shape} decodes to {encoded.dtype}, which none does")
    if encoded.channels is not None:
        check_channels(encoded.channels, encoded.shape[1])
    if encoded.outliers is not None:
        check_outliers(encoded.outliers, encoded.kept_shape, encoded.dtype)


def check_outliers(outliers: Outliers, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse a list of outliers that is empty, too long, not ascending, out of range or not finite.

    Args:
        outliers: of a tensor.
        shape: (N, channels kept, ...).
        dtype: that the values must fit.

    Raises:
        WireError: it is.
    """
    positions, values = outliers.positions, outliers.values
    most, n_values = most_outliers(shape), math.prod(shape)
    if positions.shape != values.shape or not (positions.ndim == 1 and 0 < len(positions) <= most):
        raise WireError(f"{positions.size} outliers in tensor {shape}: up to {most} are set aside")
    if (positions[1:] <= positions[:-1]).any() or int(positions[-1]) >= n_values:
        raise WireError(f"outliers of tensor {shape} are not at ascending places below {n_values}")
    if not (np.abs(values) <= np.finfo(dtype).max).all():
        raise WireError(f"tensor {shape} has an outlier beyond the finite numbers of {dtype.name}")

"""A quantised tensor, and how many bytes it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from partition.codec import quantisers
from partition.codec.quantise import Float32Array, Uint8Array
from partition.errors import WireError

Uint16Array = npt.NDArray[np.uint16]

PARAMETER_BYTES = 8
"""One float32 scale and one float32 zero per group."""
MIN_DIMS, MAX_DIMS = 2, 6
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
    """Payload and parameters of an encoded tensor of `shape`."""
    groups, row_bytes = payload_shape(shape, bits)
    return groups * (row_bytes + PARAMETER_BYTES)


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
        and scale.dtype == zero.dtype == np.float32
        and all(array.flags.c_contiguous for array in (payload, scale, zero))
    ):
        raise WireError(
            f"tensor {encoded.shape} of {encoded.bits} bits has a payload of {payload.dtype.name} "
            f"{payload.shape}, scales {scale.shape} and zeros {zero.shape}"
        )
    if encoded.channels is not None:
        check_channels(encoded.channels, encoded.shape[1])

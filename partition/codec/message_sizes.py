"""Sizes of messages and their tensors, known without packing one."""

from __future__ import annotations

import math

import numpy as np

from partition.codec.encoded import encoded_bytes, is_feature_map
from partition.errors import WireError

RAW_TYPES = (
    "float32",
    "float16",
    "int64",
    "int32",
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "uint32",
    "uint64",
    "float64",
)
"""numpy's names of the types that cross as they are, in the order of their codes in a message: new
ones come last."""
RAW_NAMES = ", ".join(RAW_TYPES)
_REQUEST_HEADER_BYTES = 24
_TENSOR_HEADER_BYTES = 40
_ALIGNMENT_BYTES = 8


def request_bytes(
    shapes: tuple[tuple[int, ...], ...],
    bits: int = 8,
    dtypes: tuple[str, ...] | None = None,
) -> int:
    """Size of a request that carries tensors of these shapes with all channels.

    Each outlier that the codec sets aside adds 8 bytes, and no ordinary tensor has one. At most,
    with as many as there may be, a group of n values grows by 8 * (1 + n // 256) of its n + 8 bytes
    in 8 bits, or n / 2 + 8 in 4: by 20 or 33 % (n = 32), 4 or 8 % (n = 800).

    Args:
        shapes: of the tensors.
        bits: of the levels of those that are quantised.
        dtypes: numpy's names; None: all are float32. What is neither float32 nor float16, or has
            less than two dimensions, crosses as it is.

    Raises:
        WireError: a message cannot carry one of the types.
    """
    names = dtypes or ("float32",) * len(shapes)
    tensors = sum(
        _tensor_bytes(shape, bits, name) for shape, name in zip(shapes, names, strict=True)
    )
    return _REQUEST_HEADER_BYTES + tensors


def padding(size: int) -> int:
    """Zeros that fill a part of `size` bytes up to the alignment of all parts."""
    return -size % _ALIGNMENT_BYTES


def _tensor_bytes(shape: tuple[int, ...], bits: int, dtype: str) -> int:
    """Bytes of a tensor in a message, header and padding included.

    A size that depends on the data, -1, counts as one.
    """
    shape = tuple(map(abs, shape))
    if dtype not in RAW_TYPES:
        raise WireError(f"tensor of {dtype}: a message carries {RAW_NAMES}")
    if is_feature_map(shape, np.dtype(dtype)):
        size = encoded_bytes(shape, bits)
    else:
        size = math.prod(shape) * np.dtype(dtype).itemsize
    return _TENSOR_HEADER_BYTES + size + padding(size)

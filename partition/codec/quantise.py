"""Rows of float32 to 256 or 16 levels and back, in plain numpy: what the kernel must equal.

Every row has its own affine map `value = level * scale + zero`. Levels are found as
`(value - zero) * (1 / scale) + 0.5`, cut off, in float32 and in this order, so that the compiled
kernel (`partition.codec.kernel`) gives the same bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Uint8Array = npt.NDArray[np.uint8]

_UFUNC_BUFFER_VALUES = 1024


def row_bytes(n_values: int, bits: int) -> int:
    """Bytes of a row of `n_values` levels: one each, or two a byte with the first one low."""
    return (n_values * bits + 7) // 8


def levels(bits: int) -> int:
    """The highest level."""
    return (1 << bits) - 1


def quantise(
    values: Float32Array,
    bits: int,
    payload: Uint8Array,
    scale: Float32Array,
    zero: Float32Array,
) -> bool:
    """Write levels, scales and zeros of the rows of `values`.

    Args:
        values: (rows, n), C-contiguous.
        bits: 8 or 4.
        payload: (rows, `row_bytes(n, bits)`).
        scale: (rows,).
        zero: (rows,).

    Returns:
        Whether all values are finite and their range fits float32; else what was written means
        nothing.
    """
    n_values = values.shape[1]
    top = np.float32(levels(bits))
    np.min(values, axis=1, out=zero)
    with np.errstate(over="ignore", invalid="ignore"):
        np.divide(np.max(values, axis=1) - zero, top, out=scale)
        if not np.isfinite(scale * top + zero).all():
            return False
    scale[scale < np.finfo(np.float32).tiny] = 0
    per_level = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    codes = payload if bits == 8 else np.empty(values.shape, np.uint8)
    with _unbuffered_rows():
        work = np.subtract(values, zero[:, None])
        np.multiply(work, per_level[:, None], out=work)
        np.add(work, np.float32(0.5), out=codes, casting="unsafe")
    if bits == 4:
        payload[:] = codes[:, 0::2]
        payload[:, : n_values // 2] |= codes[:, 1::2] << 4
    return True


def dequantise(
    payload: Uint8Array, scale: Float32Array, zero: Float32Array, bits: int, out: Float32Array
) -> None:
    """Write to `out`, (rows, n), what `payload`, (rows, `row_bytes(n, bits)`), stands for."""
    codes = payload
    if bits == 4:
        n_values = out.shape[1]
        codes = np.empty(out.shape, np.uint8)
        np.bitwise_and(payload, 15, out=codes[:, 0::2])
        np.right_shift(payload[:, : n_values // 2], 4, out=codes[:, 1::2])
    with _unbuffered_rows():
        np.multiply(codes, scale[:, None], out=out)
        np.add(out, zero[:, None], out=out)


@contextlib.contextmanager
def _unbuffered_rows() -> Iterator[None]:
    """Keep numpy from copying broadcast operands: 3 times faster on rows of 1024..8191 values.

    A ufunc whose inner loop is shorter than its buffer (8192 values) goes through that buffer.
    """
    previous = np.setbufsize(_UFUNC_BUFFER_VALUES)
    try:
        yield
    finally:
        np.setbufsize(previous)

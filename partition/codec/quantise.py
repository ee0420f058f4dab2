"""Rows of float32 to 256 or 16 levels and back, in numpy.

Every row has its own affine map `value = level * scale + zero`. Levels are found as
`(value - zero) * (1 / scale) + 0.5`, cut off, in float32 and in this order: other orders round
some values to the next level, and what crosses a link would not be the same bytes.

Small feature maps take as long as numpy's calls do, large ones as long as memory is read: hence few
calls, in place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Uint8Array = npt.NDArray[np.uint8]

_HALF = np.float32(0.5)
_SMALLEST_NORMAL = np.finfo(np.float32).tiny
_SAFE = np.float32(1e38)
"""Within +-1e38 no range overflows float32, so that none needs to be looked at."""
# A ufunc whose inner loop is shorter than its buffer goes through that buffer.
_UFUNC_BUFFER_VALUES, _SMALL_BUFFER_VALUES = 8192, 1024


def row_bytes(n_values: int, bits: int) -> int:
    """Bytes of a row of `n_values` levels: one each, or two a byte with the first one low."""
    return (n_values * bits + 7) // 8


def levels(bits: int) -> int:
    """The highest level."""
    return (1 << bits) - 1


def quantise(
    values: Float32Array, bits: int
) -> tuple[Uint8Array, Float32Array, Float32Array] | None:
    """Levels, scales and zeros of the rows of `values`, (rows, n), in 8 or 4 bits.

    Returns:
        Levels (rows, `row_bytes(n, bits)`), scales (rows,) and zeros (rows,); None where a value
        is not finite or the range of a row does not fit float32.
    """
    top = np.float32(levels(bits))
    zero = np.minimum.reduce(values, axis=1, keepdims=True)
    high = np.maximum.reduce(values, axis=1, keepdims=True)
    safe = (
        np.minimum.reduce(zero, axis=None) > -_SAFE and np.maximum.reduce(high, axis=None) < _SAFE
    )
    if not safe and not _fits(zero, high, top):
        return None
    scale = (high - zero) / top
    varies = scale >= _SMALLEST_NORMAL
    per_level = varies / np.maximum(scale, _SMALLEST_NORMAL)
    scale *= varies
    with _unbuffered(values.shape[1]):
        work = values - zero
        work *= per_level
        work += _HALF
        codes = work.astype(np.uint8)
    return codes if bits == 8 else _pack(codes), scale.reshape(-1), zero.reshape(-1)


def dequantise(
    payload: Uint8Array, scale: Float32Array, zero: Float32Array, bits: int, out: Float32Array
) -> None:
    """Write to `out`, (rows, n), what `payload`, (rows, `row_bytes(n, bits)`), stands for."""
    n_values = out.shape[1]
    with _unbuffered(n_values):
        np.copyto(out, payload if bits == 8 else _unpack(payload)[:, :n_values])
        out *= scale[:, None]
        out += zero[:, None]


def _fits(zero: Float32Array, high: Float32Array, top: np.float32) -> bool:
    """Whether the decoded maximum of every row is a finite number."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite((high - zero) / top * top + zero).all())


def _pack(codes: Uint8Array) -> Uint8Array:
    """Two neighbours a byte, the first one low: both are shifted as one number of 16 bits."""
    if codes.shape[1] % 2:
        codes = np.pad(codes, ((0, 0), (0, 1)))
    pairs = codes.view("<u2")
    return (pairs | pairs >> 4).astype(np.uint8)


def _unpack(payload: Uint8Array) -> Uint8Array:
    pairs = payload.astype("<u2")
    pairs |= pairs << 4
    pairs &= 0x0F0F
    return pairs.view(np.uint8)


def _unbuffered(n_values: int) -> contextlib.AbstractContextManager[None]:
    """Keeps numpy from copying broadcast operands of rows, where that makes it faster."""
    if _SMALL_BUFFER_VALUES <= n_values < _UFUNC_BUFFER_VALUES:
        return _small_buffer()
    return _NO_CHANGE


_NO_CHANGE = contextlib.nullcontext()


@contextlib.contextmanager
def _small_buffer() -> Iterator[None]:
    previous = np.setbufsize(_SMALL_BUFFER_VALUES)
    try:
        yield
    finally:
        np.setbufsize(previous)

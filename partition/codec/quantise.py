"""Rows of float32 to evenly spaced levels and back, in numpy: what the codecs share.

Every row has its own affine map `value = level * scale + zero`. Levels are found as
`(value - zero) * (1 / scale) + 0.5`, cut off, in float32 and in this order: other orders round
some values to the next level, and what crosses a link would not be the same bytes.

Small feature maps take as long as numpy's calls do, large ones as long as memory is read: hence few
calls, in place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Uint8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

MIN_ROW_VALUES = 32
"""Of a row in which values may be set aside."""
NARROW = 1 / 256
"""Share of the squared range that a variance, less 1 / n, is narrow below. Rows of normal numbers
have 1 / 17 (32 of them) to 1 / 94 (a million), and a ninth of that and 1 / n where an outlier makes
the range three times as long."""

_HALF, _ONE = np.float32(0.5), np.float32(1)
_SMALLEST_NORMAL = np.finfo(np.float32).tiny
_SAFE = np.float32(1e38)
"""Within +-1e38 no range overflows float32, so that none needs to be looked at."""
# A ufunc whose inner loop is shorter than its buffer goes through that buffer.
_UFUNC_BUFFER_VALUES, _SMALL_BUFFER_VALUES = 8192, 1024
# Of a long row every fourth of 16 pieces is looked at first. What is left out makes a row look
# narrower, so that up to 1 + n / 1024 outliers are found wherever they are. For longer dot products
# BLAS may wake its threads, which take cores from the network.
_MOST_DOT_VALUES, _PIECES, _STEP = 8192, 16, 4
_ONES = np.ones(_MOST_DOT_VALUES, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiser:
    """A way to send a value in a few bits; `partition.codec.quantisers` lists all."""

    name: str
    """In cluster files, sessions of stages and names of routes."""
    bits: int
    """Of a value; no two quantisers have the same."""
    wire_type: int
    """Of a tensor in a message, 1 to 15; no two quantisers have the same."""
    pack: Callable[[Uint8Array], Uint8Array]
    """From levels (rows, n), a byte each, to a payload (rows, bytes per row)."""
    unpack: Callable[[Uint8Array, int], Uint8Array]
    """From a payload and n to levels (rows, n)."""

    @property
    def top(self) -> int:
        """The highest level."""
        return (1 << self.bits) - 1

    def row_bytes(self, n_values: int) -> int:
        """Bytes of a row's payload, full but for the last one."""
        return (n_values * self.bits + 7) // 8


class Levels(NamedTuple):
    """Rows as levels."""

    codes: Uint8Array
    """(rows, n)."""
    scale: Float32Array
    """(rows,)."""
    zero: Float32Array
    """(rows,)."""
    narrow: BoolArray | None
    """(rows,): where most values lie close together within the range, as with an outlier."""


def to_levels(values: Float32Array, top: int) -> Levels | None:
    """Levels 0 to `top` of the rows of `values`, (rows, n) and C-contiguous.

    None where a value is not finite, or the range of a row does not fit float32.
    """
    # In a row of 50 or 200 values `reduce` takes twice as long as `reduceat`.
    starts = np.arange(0, values.size, values.shape[1])
    zero: Float32Array = np.minimum.reduceat(values.reshape(-1), starts)[:, None]
    high: Float32Array = np.maximum.reduceat(values.reshape(-1), starts)[:, None]
    safe = (
        np.minimum.reduce(zero, axis=None) > -_SAFE and np.maximum.reduce(high, axis=None) < _SAFE
    )
    if not safe and not _fits(zero, high, top):
        return None
    scale = (high - zero) / np.float32(top)
    if np.minimum.reduce(scale, axis=None) >= _SMALLEST_NORMAL:
        per_level = _ONE / scale
    else:  # some rows are constant
        varies = scale >= _SMALLEST_NORMAL
        per_level = varies / np.maximum(scale, _SMALLEST_NORMAL)
        scale *= varies
    with _unbuffered(values):
        work = values - zero
        work *= per_level
        work += _HALF
        codes = work.astype(np.uint8)
    scale, zero = scale.reshape(-1), zero.reshape(-1)
    narrow = _narrow(work, scale, top) if values.shape[1] >= MIN_ROW_VALUES else None
    return Levels(codes, scale, zero, narrow)


def from_levels(
    codes: Uint8Array, scale: Float32Array, zero: Float32Array, out: Float32Array
) -> None:
    """Write to `out`, (rows, n), what levels stand for."""
    with _unbuffered(out):
        np.copyto(out, codes)
        out *= scale[:, None]
        out += zero[:, None]


def _narrow(work: Float32Array, scale: Float32Array, top: int) -> BoolArray | None:
    """Rows, in levels, of so small a variance that there may be outliers; None: no row."""
    rows, n = work.shape
    if n <= _MOST_DOT_VALUES:
        narrow = _varies_little(_dots(work, _ONES[:n]), _dots(work, work), n, top)
    else:
        pieces = work[:, : n - n % _PIECES].reshape(rows, _PIECES, -1)
        pieces = pieces[:, ::_STEP, :_MOST_DOT_VALUES]
        sums = _dots(pieces, _ONES[: pieces.shape[2]]).sum(axis=1)
        narrow = _varies_little(sums, _dots(pieces, pieces).sum(axis=1), pieces[0].size, top)
        if narrow is not None:
            whole = work[narrow]
            squares = np.einsum("ij,ij->i", whole, whole)
            found = _varies_little(np.einsum("ij->i", whole), squares, n, top)
            narrow[narrow] = False if found is None else found
    if narrow is not None:
        narrow &= scale > 0
    return narrow if narrow is not None and narrow.any() else None


def _matrix_dots(a: Float32Array, b: Float32Array) -> Float32Array:
    """Dot products along the last dimension."""
    products: Float32Array = a[..., None, :] @ b[..., None]
    return products[..., 0, 0]


# numpy has had it since 2.0; the other one takes a third longer.
_dots: Callable[[Float32Array, Float32Array], Float32Array] = getattr(np, "vecdot", _matrix_dots)


def _varies_little(sums: Float32Array, squares: Float32Array, n: int, top: int) -> BoolArray | None:
    """Where the variance of `n` levels is little; None: nowhere.

    Of one value far away and all others alike it is range**2 / n.
    """
    sums *= sums
    squares *= np.float32(n)
    squares -= sums
    limit = (NARROW + 1 / n) * (top * n) ** 2
    return None if np.minimum.reduce(squares) >= limit else squares < limit


def _fits(zero: Float32Array, high: Float32Array, top: int) -> bool:
    """Whether the decoded maximum of every row is a finite number."""
    with np.errstate(over="ignore", invalid="ignore"):
        scale = (high - zero) / np.float32(top)
        return bool(np.isfinite(scale * np.float32(top) + zero).all())


def _unbuffered(values: Float32Array) -> contextlib.AbstractContextManager[None]:
    """Keeps numpy from copying broadcast operands of rows, where that makes it faster."""
    rows, n_values = values.shape
    if rows > 1 and _SMALL_BUFFER_VALUES <= n_values < _UFUNC_BUFFER_VALUES:
        return _SmallBuffer()
    return _NO_CHANGE


_NO_CHANGE = contextlib.nullcontext()


class _SmallBuffer:
    """In half the time that a generator as context manager takes."""

    def __enter__(self) -> None:
        self._previous = np.setbufsize(_SMALL_BUFFER_VALUES)

    def __exit__(self, *_: object) -> None:
        np.setbufsize(self._previous)

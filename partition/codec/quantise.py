"""Rows of float32 to evenly spaced levels and back, in numpy: what the codecs share.

Every row has its own affine map `value = level * scale + zero`. Levels are found as
`(value - zero) * (1 / scale) + 0.5`, cut off, in float32 and in this order: other orders round
some values to the next level, and what crosses a link would not be the same bytes.

Small feature maps take as long as numpy's calls do, large ones as long as memory is read: hence few
calls, in place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Uint8Array = npt.NDArray[np.uint8]
Rows = tuple[Uint8Array, Float32Array, Float32Array]
"""Payload (rows, bytes per row), scales (rows,) and zeros (rows,)."""

_HALF = np.float32(0.5)
_SMALLEST_NORMAL = np.finfo(np.float32).tiny
_SAFE = np.float32(1e38)
"""Within +-1e38 no range overflows float32, so that none needs to be looked at."""
# A ufunc whose inner loop is shorter than its buffer goes through that buffer.
_UFUNC_BUFFER_VALUES, _SMALL_BUFFER_VALUES = 8192, 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiser:
    """A way to send a value in a few bits; `partition.codec.quantisers` lists all."""

    name: str
    """In cluster files, sessions of stages and names of routes."""
    bits: int
    """Of a value; no two quantisers have the same."""
    wire_type: int
    """Of a tensor in a message, 1 to 15; no two quantisers have the same."""
    encode: Callable[[Float32Array], Rows | None]
    """Of rows (rows, n), C-contiguous; None where a value is not finite or the range of a row does
    not fit float32."""
    decode: Callable[[Uint8Array, Float32Array, Float32Array, Float32Array], None]
    """From payload, scales and zeros to an array (rows, n)."""

    @property
    def top(self) -> int:
        """The highest level."""
        return (1 << self.bits) - 1

    def row_bytes(self, n_values: int) -> int:
        """Bytes of a row's payload, full but for the last one."""
        return (n_values * self.bits + 7) // 8


def to_levels(values: Float32Array, top: int) -> Rows | None:
    """Levels 0 to `top` of the rows of `values`, (rows, n), a byte each; None: see `Quantiser`."""
    zero: Float32Array = np.minimum.reduce(values, axis=1, keepdims=True)
    high: Float32Array = np.maximum.reduce(values, axis=1, keepdims=True)
    safe = (
        np.minimum.reduce(zero, axis=None) > -_SAFE and np.maximum.reduce(high, axis=None) < _SAFE
    )
    if not safe and not _fits(zero, high, top):
        return None
    scale = (high - zero) / np.float32(top)
    varies = scale >= _SMALLEST_NORMAL
    per_level = varies / np.maximum(scale, _SMALLEST_NORMAL)
    scale *= varies
    with _unbuffered(values.shape[1]):
        work = values - zero
        work *= per_level
        work += _HALF
        codes = work.astype(np.uint8)
    return codes, scale.reshape(-1), zero.reshape(-1)


def from_levels(
    codes: Uint8Array, scale: Float32Array, zero: Float32Array, out: Float32Array
) -> None:
    """Write to `out`, (rows, n), what levels stand for."""
    with _unbuffered(out.shape[1]):
        np.copyto(out, codes)
        out *= scale[:, None]
        out += zero[:, None]


def _fits(zero: Float32Array, high: Float32Array, top: int) -> bool:
    """Whether the decoded maximum of every row is a finite number."""
    with np.errstate(over="ignore", invalid="ignore"):
        scale = (high - zero) / np.float32(top)
        return bool(np.isfinite(scale * np.float32(top) + zero).all())


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

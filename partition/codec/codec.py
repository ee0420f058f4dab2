"""Feature codec: per-channel affine int8 or int4, 4 or 8 times fewer bytes than float32.

Quantisation is the one compression that always pays on a feature map; lossless compression of
float32 saves next to nothing, and zstd on top of int8 a twentieth (results/codec.md).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from partition.codec import quantise
from partition.codec.encoded import (
    MAX_DIMS,
    MIN_DIMS,
    PARAMETER_BYTES,
    Bits,
    Encoded,
    Uint16Array,
    check_channels,
    check_encoded,
    encoded_bytes,
    group_count,
    payload_shape,
)
from partition.codec.kernel import KERNEL, Int32Array, Kernel, warn_if_missing
from partition.codec.pool import Made, Pool
from partition.codec.quantise import Float32Array, Uint8Array
from partition.errors import WireError

__all__ = [
    "PARAMETER_BYTES",
    "Bits",
    "Codec",
    "Encoded",
    "Float32Array",
    "Uint8Array",
    "Uint16Array",
    "encoded_bytes",
    "group_count",
]

_Plan = tuple[int, int, tuple[Any, ...]]
"""Groups, values per group, and where the kernel finds payload, scale and zero."""


class Codec:
    """Encoder and decoder of feature maps; may be shared by threads.

    Memory of what `encode` and `decode` returned is used again once nobody holds it: fresh arrays
    would cost more in page faults than the arithmetic.

    Args:
        bits: 8, or 4 for half the bytes and 17 times coarser levels. Decoding takes both.
        kernel: what does the arithmetic; None: plain numpy, with the same result.
    """

    def __init__(self, bits: Bits = 8, kernel: Kernel | None = KERNEL) -> None:
        if bits not in (4, 8):
            raise WireError(f"codec of {bits} bits: choose 8 or 4")
        if kernel is None:
            warn_if_missing()
        self.bits: Bits = bits
        self._kernel = kernel
        self._encoded = Pool(self._new_encoded)
        self._decoded = Pool(_new_decoded)

    def encode(self, tensor: Float32Array, channels: Uint16Array | None = None) -> Encoded:
        """Quantise a float32 tensor (N, C, ...) to 256 or 16 levels per group.

        A constant group survives exactly; elsewhere the error is at most half a level. A range
        below 3e-36 counts as constant.

        Args:
            tensor: 2 to 6 dimensions, none of them 0.
            channels: ascending indices of the channels to keep; None keeps all.

        Raises:
            WireError: a value is NaN or infinite, a range does not fit float32, or the tensor or
                the channels are none of the above.
        """
        shape = tensor.shape
        if tensor.dtype != np.float32 or not MIN_DIMS <= len(shape) <= MAX_DIMS or not tensor.size:
            raise WireError(f"tensor {shape} of {tensor.dtype.name} is not float32 (N, C, ...)")
        if channels is None:
            return self._encode(np.ascontiguousarray(tensor), None)
        channels = np.array(channels, np.uint16)
        check_channels(channels, shape[1])
        rows = _rows(shape, channels) if self._kernel else None
        kept = np.ascontiguousarray(tensor[:, channels] if rows is None else tensor)
        kept_shape = (shape[0], len(channels), *shape[2:])
        encoded = self._encode(kept, rows, kept_shape)
        return replace(encoded, shape=shape, channels=channels)

    def _encode(
        self, values: Float32Array, rows: Int32Array | None, shape: tuple[int, ...] | None = None
    ) -> Encoded:
        """Of a tensor, or of some of its rows, which make one of `shape`."""
        encoded, (groups, n_values, addresses) = self._encoded.take(shape or values.shape)
        if self._kernel:
            done = self._kernel.quantise(values, rows, groups, n_values, self.bits, addresses)
        else:
            values = values.reshape(groups, n_values)
            parts = encoded.payload, encoded.scale, encoded.zero
            done = quantise.quantise(values, self.bits, *parts)
        if not done:
            raise WireError(f"tensor {encoded.shape} holds NaN, infinity or a range beyond float32")
        return encoded

    def _new_encoded(self, shape: tuple[int, ...]) -> Made[Encoded, _Plan]:
        groups, row_bytes = payload_shape(shape, self.bits)
        payload = np.empty((groups, row_bytes), np.uint8)
        scale, zero = np.empty(groups, np.float32), np.empty(groups, np.float32)
        encoded = Encoded(shape, self.bits, payload, scale, zero)
        arrays = (payload, scale, zero)
        address = self._kernel.address if self._kernel else id
        addresses = tuple(address(array) for array in arrays)
        return Made(encoded, (groups, math.prod(shape) // groups, addresses), (encoded, *arrays))

    def decode(self, encoded: Encoded, out: Float32Array | None = None) -> Float32Array:
        """The float32 tensor that `encoded` stands for.

        Args:
            encoded: of any number of bits.
            out: C-contiguous float32 array of `encoded.shape` to write to, for instance a part of
                a batch; None takes memory of the codec.

        Raises:
            WireError: the parts of `encoded` do not fit each other, or `out` does not fit them.
        """
        check_encoded(encoded)
        if out is None:
            out, _ = self._decoded.take(encoded.shape)
        elif out.shape != encoded.shape or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise WireError(f"cannot decode {encoded.shape} into {out.dtype.name} {out.shape}")
        if encoded.channels is None:
            self._dequantise(encoded, None, out)
            return out
        out.fill(0)
        rows = _rows(encoded.shape, encoded.channels) if self._kernel else None
        if rows is not None:
            self._dequantise(encoded, rows, out)
            return out
        kept = np.empty(encoded.kept_shape, np.float32)
        self._dequantise(encoded, None, kept)
        out[:, encoded.channels] = kept
        return out

    def _dequantise(self, encoded: Encoded, rows: Int32Array | None, out: Float32Array) -> None:
        payload, scale, zero, bits = encoded.payload, encoded.scale, encoded.zero, encoded.bits
        n_values = math.prod(encoded.kept_shape) // len(scale)
        if self._kernel:
            self._kernel.dequantise(payload, scale, zero, rows, n_values, bits, out)
        else:
            quantise.dequantise(payload, scale, zero, bits, out.reshape(len(scale), n_values))


def _rows(shape: tuple[int, ...], channels: Uint16Array) -> Int32Array | None:
    """Where the channels kept lie among all N * C, (groups,); None if a group is no channel."""
    kept_shape = (shape[0], len(channels), *shape[2:])
    if group_count(kept_shape) != shape[0] * len(channels):
        return None
    starts = np.arange(shape[0], dtype=np.int32)[:, None] * np.int32(shape[1])
    return (starts + channels.astype(np.int32)).reshape(-1)


def _new_decoded(shape: tuple[int, ...]) -> Made[Float32Array, None]:
    out = np.empty(shape, np.float32)
    return Made(out, None, (out,))

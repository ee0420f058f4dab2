"""Feature codec: quantised per channel, for instance int8, 4 times fewer bytes than float32.

Quantisation is the one compression that always pays on a feature map; lossless compression of
float32 saves next to nothing, and zstd on top of int8 a twentieth (results/codec.md).
"""

from __future__ import annotations

import numpy as np

from partition.codec import quantisers
from partition.codec.encoded import (
    MAX_DIMS,
    MIN_DIMS,
    PARAMETER_BYTES,
    Encoded,
    Uint16Array,
    check_channels,
    check_encoded,
    encoded_bytes,
    group_count,
)
from partition.codec.quantise import Float32Array, Uint8Array
from partition.errors import WireError

__all__ = [
    "PARAMETER_BYTES",
    "Codec",
    "Encoded",
    "Float32Array",
    "Uint8Array",
    "Uint16Array",
    "encoded_bytes",
    "group_count",
]


class Codec:
    """Encoder and decoder of feature maps; may be shared by threads.

    Args:
        bits: 8, or 4 for half the bytes and 17 times coarser levels. Decoding takes any.

    Raises:
        WireError: no quantiser has so many bits.
    """

    def __init__(self, bits: int = quantisers.DEFAULT.bits) -> None:
        self._quantiser = quantisers.of_bits(bits)
        self.bits = bits

    def encode(self, tensor: Float32Array, channels: Uint16Array | None = None) -> Encoded:
        """Quantise a float32 tensor (N, C, ...), each group within its own range.

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
        kept = tensor
        if channels is not None:
            channels = np.array(channels, np.uint16)
            check_channels(channels, shape[1])
            kept = tensor.take(channels, axis=1)
        rows = np.ascontiguousarray(kept).reshape(group_count(kept.shape), -1)
        quantised = self._quantiser.encode(rows)
        if quantised is None:
            raise WireError(f"tensor {shape} holds NaN, infinity or a range beyond float32")
        return Encoded(shape, self.bits, *quantised, channels)

    def decode(self, encoded: Encoded, out: Float32Array | None = None) -> Float32Array:
        """The float32 tensor that `encoded` stands for.

        Args:
            encoded: of any number of bits.
            out: C-contiguous float32 array of `encoded.shape` to write to, for instance a part of
                a batch; None makes one.

        Raises:
            WireError: the parts of `encoded` do not fit each other, or `out` does not fit them.
        """
        check_encoded(encoded)
        if out is None:
            out = np.empty(encoded.shape, np.float32)
        elif out.shape != encoded.shape or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise WireError(f"cannot decode {encoded.shape} into {out.dtype.name} {out.shape}")
        if encoded.channels is None:
            _dequantise(encoded, out)
            return out
        kept = np.empty(encoded.kept_shape, np.float32)
        _dequantise(encoded, kept)
        out.fill(0)
        out[:, encoded.channels] = kept
        return out


def _dequantise(encoded: Encoded, out: Float32Array) -> None:
    payload, scale, zero = encoded.payload, encoded.scale, encoded.zero
    quantisers.of_bits(encoded.bits).decode(payload, scale, zero, out.reshape(len(scale), -1))

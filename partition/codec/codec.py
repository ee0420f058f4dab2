"""Feature codec: quantised per channel, for instance int8, 4 times fewer bytes than float32.

Quantisation is the one compression that always pays on a feature map; lossless compression of
float32 saves next to nothing, and zstd on top of int8 a twentieth (results/codec.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from partition.codec import quantisers
from partition.codec.encoded import (
    FLOAT32,
    PARAMETER_BYTES,
    Encoded,
    Uint16Array,
    check_channels,
    check_encoded,
    encoded_bytes,
    group_count,
    is_feature_map,
)
from partition.codec.outliers import set_aside
from partition.codec.quantise import Float32Array, Uint8Array, from_levels, to_levels
from partition.errors import WireError

__all__ = [
    "PARAMETER_BYTES",
    "Codec",
    "Encoded",
    "FeatureMap",
    "Float32Array",
    "Uint8Array",
    "Uint16Array",
    "encoded_bytes",
    "group_count",
]

FeatureMap = npt.NDArray[Any]
"""float32 or float16, (N, C, ...)."""


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

    def encode(self, tensor: FeatureMap, channels: Uint16Array | None = None) -> Encoded:
        """Quantise a tensor (N, C, ...) of float32 or float16, each group within its own range.

        A constant group survives exactly; elsewhere the error is at most half a level. A range
        below 3e-36 counts as constant. The few values that would make levels coarse for all others
        of their group are set aside and survive exactly.

        Args:
            tensor: 2 to 6 dimensions, none of them 0.
            channels: ascending indices of the channels to keep; None keeps all.

        Raises:
            WireError: a value is NaN or infinite, a range does not fit float32, or the tensor or
                the channels are none of the above.
        """
        shape, dtype = tensor.shape, tensor.dtype
        if not is_feature_map(shape, dtype) or not tensor.size:
            raise WireError(f"tensor {shape} of {dtype} is not float32 or float16 (N, C, ...)")
        kept = tensor
        if channels is not None:
            channels = np.array(channels, np.uint16)
            check_channels(channels, shape[1])
            kept = tensor.take(channels, axis=1)
        rows = np.ascontiguousarray(kept, np.float32).reshape(group_count(kept.shape), -1)
        levels = to_levels(rows, self._quantiser.top)
        if levels is None:
            raise WireError(f"tensor {shape} holds NaN, infinity or a range beyond float32")
        outliers = set_aside(rows, levels, self._quantiser.top)
        payload = self._quantiser.pack(levels.codes)
        parameters = levels.scale, levels.zero
        return Encoded(shape, self.bits, payload, *parameters, channels, outliers, dtype)

    def decode(self, encoded: Encoded, out: FeatureMap | None = None) -> FeatureMap:
        """The tensor that `encoded` stands for, of its type.

        Args:
            encoded: of any number of bits.
            out: C-contiguous array of the shape and type of `encoded` to write to, for instance a
                part of a batch; None makes one.

        Raises:
            WireError: the parts of `encoded` do not fit each other, or `out` does not fit them.
        """
        check_encoded(encoded)
        if out is None:
            out = np.empty(encoded.shape, encoded.dtype)
        elif (out.shape, out.dtype) != (encoded.shape, encoded.dtype) or not out.flags.c_contiguous:
            raise WireError(
                f"cannot decode {encoded.dtype.name} {encoded.shape} into {out.dtype.name} "
                f"{out.shape}"
            )
        if encoded.channels is None and out.dtype == FLOAT32:
            _dequantise(encoded, out)
            return out
        kept = np.empty(encoded.kept_shape, np.float32)
        _dequantise(encoded, kept)
        if encoded.channels is None:
            np.copyto(out, kept, casting="same_kind")
            return out
        out.fill(0)
        out[:, encoded.channels] = kept
        return out


def _dequantise(encoded: Encoded, out: Float32Array) -> None:
    rows = out.reshape(len(encoded.scale), -1)
    codes = quantisers.of_bits(encoded.bits).unpack(encoded.payload, rows.shape[1])
    from_levels(codes, encoded.scale, encoded.zero, rows)
    if encoded.outliers is not None:
        out.reshape(-1)[encoded.outliers.positions] = encoded.outliers.values

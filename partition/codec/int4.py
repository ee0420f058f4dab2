"""int4: 16 levels, two neighbours a byte with the first one low."""

from __future__ import annotations

import numpy as np

from partition.codec.quantise import (
    Float32Array,
    Quantiser,
    Rows,
    Uint8Array,
    from_levels,
    to_levels,
)


def _encode(values: Float32Array) -> Rows | None:
    found = to_levels(values, 15)
    if found is None:
        return None
    codes, scale, zero = found
    if codes.shape[1] % 2:
        codes = np.pad(codes, ((0, 0), (0, 1)))
    # Both neighbours at once, as one number of 16 bits: strided halves take six times as long.
    pairs = codes.view("<u2")
    return (pairs | pairs >> 4).astype(np.uint8), scale, zero


def _decode(
    payload: Uint8Array, scale: Float32Array, zero: Float32Array, out: Float32Array
) -> None:
    pairs = payload.astype("<u2")
    pairs |= pairs << 4
    pairs &= 0x0F0F
    from_levels(pairs.view(np.uint8)[:, : out.shape[1]], scale, zero, out)


INT4 = Quantiser(name="int4", bits=4, wire_type=2, encode=_encode, decode=_decode)

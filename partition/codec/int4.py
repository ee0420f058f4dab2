"""int4: 16 levels, two neighbours a byte with the first one low."""

from __future__ import annotations

import numpy as np

from partition.codec.quantise import Quantiser, Uint8Array


def _pack(codes: Uint8Array) -> Uint8Array:
    if codes.shape[1] % 2:
        codes = np.pad(codes, ((0, 0), (0, 1)))
    # Both neighbours at once, as one number of 16 bits: strided halves take six times as long.
    pairs = codes.view("<u2")
    packed: Uint8Array = (pairs | pairs >> 4).astype(np.uint8)
    return packed


def _unpack(payload: Uint8Array, n_values: int) -> Uint8Array:
    pairs = payload.astype("<u2")
    pairs |= pairs << 4
    pairs &= 0x0F0F
    return pairs.view(np.uint8)[:, :n_values]


INT4 = Quantiser(name="int4", bits=4, wire_type=2, pack=_pack, unpack=_unpack)

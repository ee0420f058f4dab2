"""int8: 256 levels, a byte each."""

from __future__ import annotations

from partition.codec.quantise import Quantiser, Uint8Array


def _pack(codes: Uint8Array) -> Uint8Array:
    return codes


def _unpack(payload: Uint8Array, _n_values: int) -> Uint8Array:
    return payload


INT8 = Quantiser(name="int8", bits=8, wire_type=1, pack=_pack, unpack=_unpack)

"""int8: 256 levels, a byte each."""

from __future__ import annotations

from partition.codec.quantise import Float32Array, Quantiser, Rows, from_levels, to_levels


def _encode(values: Float32Array) -> Rows | None:
    return to_levels(values, 255)


INT8 = Quantiser(name="int8", bits=8, wire_type=1, encode=_encode, decode=from_levels)

"""Bytes on the wire: sums of encoded tensors and of whole messages with fixed content."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from benchmarks.pinned.content import scattered
from benchmarks.pinned.differences import Values
from partition.codec.codec import Codec
from partition.codec.message_sizes import RAW_TYPES
from partition.transport.wire import (
    Hello,
    Raw,
    Reply,
    Request,
    pack_hello,
    pack_reply,
    pack_request,
)
from partition.transport.wire_tensors import pack

_SHAPES = ((1, 16, 28, 28), (1, 5, 7, 3), (4, 12, 9, 9), (2, 33, 5), (3, 40), (1, 3, 64, 64))
"""Feature maps, odd sizes, batches, tokens and pictures."""
_MODEL, _CUT_LIST = "0123456789abcdef", "fedcba9876543210"
_SPLIT = 7


def tensors() -> Values:
    """Encoded tensors as parts of a message, and what they decode to."""
    values: Values = {}
    for shape in _SHAPES:
        for bits in (8, 4):
            codec = Codec(bits)
            for name, channels in (("all", None), ("every third", _every_third(shape))):
                encoded = codec.encode(scattered(shape), channels)
                key = f"int{bits} {'x'.join(map(str, shape))}, {name} channels"
                values[key] = {
                    "packed": _sum(b"".join(pack(encoded))),
                    "decoded": _sum(codec.decode(encoded).tobytes()),
                }
    values["constant"] = _sum(b"".join(pack(Codec(8).encode(np.ones((1, 4, 8, 8), np.float32)))))
    for dtype in ("<f4", "<f2", "<i8", "<i4", "?"):
        values[f"raw {dtype}"] = _sum(b"".join(pack(Raw(scattered((2, 9)).astype(dtype)))))
    for name in RAW_TYPES[5:]:
        values[f"raw {name}"] = _sum(
            b"".join(pack(Raw((99 * scattered((2, 9)) ** 2).astype(name))))
        )
    for bits in (8, 4):
        codec, shape = Codec(bits), _SHAPES[0]
        half = codec.encode(scattered(shape).astype(np.float16), _every_third(shape))
        far = scattered(shape)
        far[0, ::2, 3, 5] = 1e6
        for key, encoded in (("float16", half), ("outliers", codec.encode(far))):
            values[f"int{bits} {key}"] = {
                "packed": _sum(b"".join(pack(encoded))),
                "decoded": _sum(codec.decode(encoded).tobytes()),
            }
    return values


def messages() -> Values:
    """Whole messages, header and all."""
    shapes = _SHAPES[0], _SHAPES[3]
    coded = tuple(Codec(8).encode(scattered(shape)) for shape in shapes)
    few = Codec(4).encode(scattered(shapes[0]), _every_third(shapes[0]))
    tokens = Raw(np.arange(12, dtype=np.int64).reshape(1, 12))
    logits = scattered((1, 10))
    return {
        "hello": _sum(pack_hello(Hello(_MODEL, _CUT_LIST))),
        "request, one tensor": _sum(pack_request(Request(_MODEL, _SPLIT, coded[:1]))),
        "request, two tensors": _sum(pack_request(Request(_MODEL, _SPLIT, coded))),
        "request, some channels": _sum(pack_request(Request(_MODEL, _SPLIT, (few,)))),
        "request, tokens": _sum(pack_request(Request(_MODEL, _SPLIT, (tokens, *coded[1:])))),
        "reply": _sum(pack_reply(Reply((logits,), 0.0125, 0.5, 3))),
        "reply, two outputs": _sum(pack_reply(Reply((logits, scattered((1, 4))), 0.25, 0.0, 0))),
    }


def _every_third(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    return np.arange(0, shape[1], 3, dtype=np.uint16)


def _sum(message: bytes) -> str:
    return f"{len(message)} bytes, sha256 {hashlib.sha256(message).hexdigest()}"

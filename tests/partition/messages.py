"""Messages of every kind, and what a receiver does with them: for property tests and the fuzzer."""

from __future__ import annotations

import math

import numpy as np

from partition.codec.codec import Codec, Encoded
from partition.codec.encoded import QUANTISED_TYPES
from partition.codec.message_sizes import RAW_TYPES
from partition.errors import WireError
from partition.transport import wire
from partition.transport.wire import Raw

MODEL = "0123456789abcdef"
_CODEC = Codec()
# One for all, so that what grows in a long run is not the codec's own (bounded) store of memory.
_DECODED = {dtype: np.empty(2**14, dtype) for dtype in QUANTISED_TYPES}


def request() -> wire.Request:
    """One int8 tensor (1, 4, 8, 8)."""
    tensor = np.random.default_rng(0).normal(size=(1, 4, 8, 8)).astype(np.float32)
    return wire.Request(MODEL, 2, (Codec().encode(tensor),))


def requests() -> list[wire.Request]:
    """All forms of a tensor, alone and together."""
    rng = np.random.default_rng(1)
    image = rng.normal(size=(2, 6, 5, 7)).astype(np.float32)
    some = np.array([1, 4, 5], np.uint16)
    far = image.copy()
    far[0, 2, 1, 1], far[1, 5, 4, 6] = 1e6, -1e9
    encoded = [
        Codec(8).encode(image),
        Codec(4).encode(image),
        Codec(8).encode(image, some),
        Codec(4).encode(rng.normal(size=(3, 9)).astype(np.float32)),
        Codec(4).encode(image, np.array([3], np.uint16)),
        Codec(8).encode(np.ones((1, 2, 1, 1, 1, 3), np.float32)),
        Codec(8).encode(far),
        Codec(4).encode(far, np.array([2, 5], np.uint16)),
        Codec(8).encode(image.astype(np.float16)),
        Codec(4).encode(np.where(far > 2, 6e4, image).astype(np.float16), some),
    ]
    raw = [
        Raw(rng.integers(0, 30000, (2, 5))),
        Raw(np.ones((2, 5), np.bool_)),
        Raw(np.arange(3, dtype=np.int32)),
        Raw(np.array([[1.5, -np.inf, np.nan]], np.float16)),
        Raw(np.zeros((1, 1, 1, 1, 1, 2), np.float32)),
        Raw(np.array(16000)),
        *(Raw(np.ones((1, 3), name)) for name in RAW_TYPES),
    ]
    alone = [wire.Request(MODEL, i, (tensor,)) for i, tensor in enumerate([*encoded, *raw])]
    several = (encoded[1], raw[0], raw[1], encoded[4], encoded[2], encoded[7], encoded[8], raw[5])
    together = wire.Request(MODEL, 65535, several, wire.NUMBERS - 1)
    return [*alone, together, wire.Request(MODEL, 1, ())]


def replies() -> list[wire.Reply]:
    """Of a classifier, and of a network with outputs of several types."""
    logits = np.linspace(-1, 1, 10, dtype=np.float32)[None]
    boxes = (np.zeros((2, 3, 4), np.float16), np.arange(6).reshape(2, 3), np.ones(2, np.bool_))
    last = wire.NUMBERS - 1
    return [wire.Reply((logits,), 0.25, 0.5, 3), wire.Reply((logits, *boxes), 1e-3, 1.0, 0, last)]


def packed() -> list[bytes]:
    """A message of each kind and form."""
    return [
        *map(wire.pack_request, requests()),
        *map(wire.pack_reply, replies()),
        wire.pack_hello(wire.Hello(MODEL, MODEL[::-1])),
        wire.pack_echo(0.5),
    ]


def receive(message: bytes) -> int:
    """Take `message` for each kind, use what comes out of it; returns how many kinds it was.

    Raises:
        AssertionError: something was accepted that should not have been.
    """
    accepted = 0
    for unpack, pack in (
        (wire.unpack_request, wire.pack_request),
        (wire.unpack_reply, wire.pack_reply),
        (wire.unpack_hello, wire.pack_hello),
        (wire.unpack_echo, wire.pack_echo),
    ):
        try:
            content = unpack(message)
        except WireError:
            continue
        accepted += 1
        assert pack(content) == message, "one content, two messages"
        if isinstance(content, wire.Request):
            _decode(content)
    return accepted


def _decode(request: wire.Request) -> None:
    """As a server does, which compares the shapes with its cut's first."""
    for tensor in request.tensors:
        n_values = math.prod(tensor.shape)
        if isinstance(tensor, Encoded) and n_values <= _DECODED[tensor.dtype].size:
            target = _DECODED[tensor.dtype][:n_values].reshape(tensor.shape)
            decoded = _CODEC.decode(tensor, target)
            assert np.isfinite(decoded).all()

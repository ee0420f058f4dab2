"""zstd over payloads: round trips, bombs, and when it pays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zstandard

from partition.codec.codec import Codec
from partition.codec.compression import (
    BYPASS_BPS,
    CompressionProbe,
    compress,
    decompress,
    probe_compression,
    worth_compressing,
)
from partition.errors import WireError


def encoded(bits=8):
    tensor = np.maximum(np.random.default_rng(0).normal(size=(1, 8, 28, 28)), 0)
    return Codec(bits).encode(tensor.astype(np.float32))


def probe(**changes):
    numbers = {"plain_bytes": 1_000_000, "compressed_bytes": 500_000}
    times = {"compress_s": 0.006, "decompress_s": 0.002}
    return CompressionProbe(**{**numbers, **times, **changes})


@pytest.mark.parametrize("bits", [8, 4])
def test_a_compressed_tensor_decodes_alike(bits):
    plain = encoded(bits)
    packed = compress(plain)
    assert packed.payload.nbytes < plain.payload.nbytes
    assert compress(packed) is packed
    assert decompress(plain) is plain
    codec = Codec()
    np.testing.assert_array_equal(codec.decode(packed), codec.decode(plain))


def frame(data: bytes, **options) -> np.ndarray:
    return np.frombuffer(zstandard.ZstdCompressor(**options).compress(data), np.uint8)


@pytest.mark.parametrize(
    "payload",
    [
        frame(bytes(6272), write_content_size=False),
        frame(bytes(6271)),
        frame(bytes(2**28)),
        frame(bytes(6272))[:-1],
        np.concatenate([frame(bytes(6272)), frame(bytes(6272))]),
        np.concatenate([frame(bytes(6272)), np.zeros(3, np.uint8)]),
        np.frombuffer(b"\x50\x2a\x4d\x18\x04\0\0\0abcd", np.uint8),
        np.zeros(40, np.uint8),
        np.zeros(0, np.uint8),
    ],
    ids=["no size", "small", "bomb", "cut", "two", "trailing", "skippable", "garbage", "empty"],
)
def test_a_frame_that_is_not_exactly_the_tensor_is_refused(payload):
    with pytest.raises(WireError):
        decompress(replace(compress(encoded()), payload=payload))


def test_a_frame_that_lies_about_its_size_is_refused():
    # One block of 2 MB of zeros behind a header that declares 6272 bytes.
    honest = frame(bytes(2**21)).tobytes()
    declared = frame(np.random.default_rng(0).bytes(6272)).tobytes()
    lying = np.frombuffer(declared[:6] + honest[9:], np.uint8)
    with pytest.raises(WireError):
        decompress(replace(compress(encoded()), payload=lying))


def test_it_pays_below_the_rate_at_which_time_saved_equals_time_spent():
    assert probe().ratio == 2
    assert probe().break_even_bps == pytest.approx(5e8)
    assert worth_compressing(4.9e8, probe())
    assert not worth_compressing(5.1e8, probe())


def test_what_does_not_shrink_never_pays():
    assert not worth_compressing(1.0, probe(compressed_bytes=1_000_100))


def test_fast_links_are_left_alone_whatever_the_probe_says():
    assert not worth_compressing(BYPASS_BPS, probe(compress_s=0, decompress_s=0))


def test_a_probe_measures_the_cut():
    found = probe_compression(encoded())
    assert found.plain_bytes == 6272
    assert found.ratio > 1.2
    assert found.compress_s > 0
    assert found.decompress_s > 0
    assert worth_compressing(1e5, found)

"""zstd over quantised payloads, and when it pays.

Package zstandard (BSD-3-Clause, wheels for x86-64 and aarch64 on every Python supported here): a
dependency of the `edge` extra, since a server must read what any edge sends.
"""

from __future__ import annotations

import functools
import statistics
import threading
import time
from dataclasses import dataclass, replace

import numpy as np

from partition.codec.encoded import Encoded
from partition.codec.quantise import Uint8Array
from partition.errors import WireError

try:
    import zstandard
except ModuleNotFoundError:  # the base install, which only simulates
    zstandard = None  # type: ignore[assignment]

LEVEL = 1
BYPASS_BPS = 1e9
"""From this link rate on nothing is compressed, whatever a probe says: the shared notes find that
the gain is gone there, and a cut's probe is too rough to tell otherwise."""
_PROBE_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionProbe:
    """What zstd did to the payload of one cut, on this machine."""

    plain_bytes: int
    compressed_bytes: int
    compress_s: float
    decompress_s: float
    """Measured here too: the server is seldom slower."""

    @property
    def ratio(self) -> float:
        """Bytes before over bytes after."""
        return self.plain_bytes / self.compressed_bytes

    @property
    def break_even_bps(self) -> float:
        """Link rate at which the time saved on the link equals the time spent; 0: never pays."""
        saved_bits = 8 * (self.plain_bytes - self.compressed_bytes)
        return max(saved_bits, 0) / max(self.compress_s + self.decompress_s, 1e-9)


def worth_compressing(rate_bps: float, probe: CompressionProbe) -> bool:
    """Whether compressing makes a request over a link of `rate_bps` bits per second faster."""
    return rate_bps < min(probe.break_even_bps, BYPASS_BPS)


def probe_compression(encoded: Encoded, rounds: int = _PROBE_ROUNDS) -> CompressionProbe:
    """Measure zstd on the payload of a cut: ratio and median times of a few rounds.

    Args:
        encoded: an uncompressed tensor, from a real input: random features mislead.
        rounds: how often each direction is timed.
    """
    packed = compress(encoded)
    compress_s, decompress_s = [], []
    for _ in range(rounds):
        start_s = time.perf_counter()
        packed = compress(encoded)
        middle_s = time.perf_counter()
        decompress(packed)
        compress_s.append(middle_s - start_s)
        decompress_s.append(time.perf_counter() - middle_s)
    return CompressionProbe(
        plain_bytes=encoded.payload.nbytes,
        compressed_bytes=packed.payload.nbytes,
        compress_s=statistics.median(compress_s),
        decompress_s=statistics.median(decompress_s),
    )


def compress(encoded: Encoded) -> Encoded:
    """The same tensor with its payload as one zstd frame that declares its size."""
    if encoded.compressed:
        return encoded
    _check_installed()
    frame = _contexts().compressor.compress(encoded.payload.data.cast("B"))
    return replace(encoded, payload=np.frombuffer(frame, np.uint8), compressed=True)


def decompress(encoded: Encoded) -> Encoded:
    """The same tensor with its payload as (groups, bytes per group).

    Raises:
        WireError: the payload is not one zstd frame of exactly that size.
    """
    if not encoded.compressed:
        return encoded
    shape = encoded.payload_shape
    check_frame(encoded.payload, shape[0] * shape[1])
    try:
        plain = _contexts().decompressor.decompress(
            encoded.payload.data, read_across_frames=False, allow_extra_data=False
        )
    except (zstandard.ZstdError, ValueError, MemoryError) as error:
        raise WireError(f"tensor {encoded.shape} holds a broken zstd frame: {error}") from error
    if len(plain) != shape[0] * shape[1]:
        raise WireError(f"tensor {encoded.shape} decompresses to {len(plain)} bytes")
    payload = np.frombuffer(plain, np.uint8).reshape(shape)
    return replace(encoded, payload=payload, compressed=False)


def check_frame(frame: Uint8Array, plain_bytes: int) -> None:
    """Refuse a zstd frame that does not declare `plain_bytes` bytes, before memory is spent on it.

    Raises:
        WireError: it is no zstd frame, declares no size or another one.
    """
    _check_installed()
    try:
        declared = zstandard.frame_content_size(bytes(frame[:_MAX_HEADER_BYTES]))
    except zstandard.ZstdError as error:
        raise WireError(f"payload is no zstd frame: {error}") from error
    if declared != plain_bytes:
        raise WireError(f"zstd frame declares {declared} bytes, its tensor has {plain_bytes}")


_MAX_HEADER_BYTES = 18
"""Of a zstd frame (RFC 8878, 3.1.1)."""


class _Contexts(threading.local):
    """A compressor and a decompressor of this thread: neither may be shared."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(
            level=LEVEL, write_content_size=True, write_checksum=False
        )
        self.decompressor = zstandard.ZstdDecompressor()


@functools.cache
def _contexts() -> _Contexts:
    return _Contexts()


def _check_installed() -> None:
    if zstandard is None:
        raise WireError("package zstandard is missing: pip install '.[edge]'")

"""Comparison of codecs on real activations: `python -m benchmarks.codec --model M`.

Ratio, time and error of what could be sent in place of float32, at every split point, next to a
memcpy of the tensor. Rounds go through all codecs in turn, each next to its own memcpy, so that
a noisy machine hits all alike; every timed call follows an untimed one of the same, so that none
pays for what the codec before it did to the caches.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from partition import cli
from partition.codec import quantisers
from partition.codec.codec import Codec, Float32Array
from partition.codec.encoded import Encoded, group_count
from partition.codec.outliers import OUTLIER_BYTES
from partition.codec.quantise import Quantiser
from partition.data.images import load_photographs
from partition.data.real_inputs import picture_format
from partition.errors import PartitionError
from partition.model.folder import ModelFolder
from partition.model.machine import describe_machine
from partition.model.runtime import SplitRuntime
from partition.model.split_point import SplitPoint
from partition.profile.measure import timed

_ROUNDS = 12
_CLEVEL_BLOSC2_ZSTD = 3
_OUTLIER = 1e6
COMMAND = "python -m benchmarks.codec"


@dataclass(frozen=True, slots=True)
class _Method:
    """A codec under comparison."""

    name: str
    encode: Callable[[Float32Array], Any]
    decode: Callable[[Any], Float32Array]
    size: Callable[[Any], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecRow:
    """One codec at one cut; times are medians over all photographs and rounds."""

    cut: str
    shape: tuple[int, ...]
    codec: str
    ratio: float
    """Bytes of float32 over bytes sent, all photographs together."""
    encode_s: float
    decode_s: float
    encode_memcpys: float
    """`encode_s` over the time of a memcpy of the float32 tensor."""
    decode_memcpys: float
    max_error: float
    """Largest error of a value, over the tensor's range."""
    rms_error: float
    """Root of the mean squared error, over the tensor's range; the worst photograph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierRow:
    """One codec at one cut, with and without a value of 1e6 in every group of values."""

    cut: str
    codec: str
    error: float
    """Root of the mean squared error over the standard deviation; the mean of all photographs."""
    error_of_others: float
    """The same with outliers, of the other values."""
    more_bytes: float
    """Bytes with outliers over those without."""
    encode_s: float
    encode_with_s: float


def measure(
    folder: ModelFolder, source: Path | None = None, rounds: int = _ROUNDS
) -> tuple[list[CodecRow], list[OutlierRow]]:
    """Compare the codecs at every split point but the last, on the first tensor that crosses.

    Args:
        folder: a model whose input is an image.
        source: photographs; None takes those of scikit-image.
        rounds: timed runs per photograph.

    Raises:
        ImageError: there are no photographs, or one cannot be decoded.
        PartitionError: a package to compare with is not installed.
    """
    form = picture_format(folder)
    if form is None:
        raise PartitionError(f"{folder.name} takes no image: give a model that does")
    methods = _methods()
    runtime = SplitRuntime(folder, threads=1)
    inputs = [photo.tensor for photo in load_photographs(source, form)]
    rows, outlier_rows = [], []
    for point in folder.split_points[:-1]:
        # Copied: what the run-time hands out may lie in memory that it uses again.
        tensors = [np.array(runtime.head(point, (x,))[0], np.float32) for x in inputs]
        rows += _measure_point(point, tensors, methods, rounds)
        outlier_rows += [
            _measure_outliers(point, tensors, each, rounds) for each in quantisers.QUANTISERS
        ]
    return rows, outlier_rows


def _measure_point(
    point: SplitPoint, tensors: list[Float32Array], methods: list[_Method], rounds: int
) -> list[CodecRow]:
    encoded = [[method.encode(tensor) for tensor in tensors] for method in methods]
    samples: list[list[tuple[float, float, float]]] = [[] for _ in methods]
    target = np.empty_like(tensors[0])
    for _ in range(rounds):
        for k, tensor in enumerate(tensors):
            for i, method in enumerate(methods):
                memcpy = _warm(np.copyto, target, tensor)
                encode = _warm(method.encode, tensor)
                samples[i].append((memcpy, encode, _warm(method.decode, encoded[i][k])))
    rows = []
    for i, method in enumerate(methods):
        memcpy, encode, decode = (statistics.median(s) for s in zip(*samples[i], strict=True))
        errors = [
            _errors(method.decode(sent), tensor)
            for sent, tensor in zip(encoded[i], tensors, strict=True)
        ]
        rows.append(
            CodecRow(
                cut=point.name,
                shape=tensors[0].shape,
                codec=method.name,
                ratio=sum(t.nbytes for t in tensors) / sum(map(method.size, encoded[i])),
                encode_s=encode,
                decode_s=decode,
                encode_memcpys=encode / memcpy,
                decode_memcpys=decode / memcpy,
                max_error=max(error for error, _ in errors),
                rms_error=max(error for _, error in errors),
            )
        )
    return rows


def _measure_outliers(
    point: SplitPoint, tensors: list[Float32Array], quantiser: Quantiser, rounds: int
) -> OutlierRow:
    codec = Codec(quantiser.bits)
    pairs = [(tensor, _with_outliers(tensor)) for tensor in tensors]
    seconds = [
        (_warm(codec.encode, tensor), _warm(codec.encode, far))
        for _ in range(rounds)
        for tensor, far in pairs
    ]
    errors, sizes = [], []
    for tensor, far in pairs:
        sent = codec.encode(tensor), codec.encode(far)
        error, error_with = (codec.decode(encoded) - tensor for encoded in sent)
        found = (np.sqrt(np.mean(e[far == tensor] ** 2)) for e in (error, error_with))
        errors.append(tuple(float(each) / float(tensor.std()) for each in found))
        sizes.append(tuple(map(_sent_bytes, sent)))
    (error, with_outliers), (plain, larger), (encode_s, encode_with_s) = (
        tuple(map(statistics.mean, zip(*errors, strict=True))),
        tuple(map(statistics.mean, zip(*sizes, strict=True))),
        tuple(map(statistics.median, zip(*seconds, strict=True))),
    )
    return OutlierRow(
        cut=point.name,
        codec=quantiser.name,
        error=error,
        error_of_others=with_outliers,
        more_bytes=larger / plain,
        encode_s=encode_s,
        encode_with_s=encode_with_s,
    )


def _with_outliers(tensor: Float32Array) -> Float32Array:
    far = tensor.copy()
    far.reshape(group_count(tensor.shape), -1)[:, 11] = _OUTLIER
    return far


def _warm(function: Callable[..., Any], *arguments: object) -> float:
    function(*arguments)
    return timed(function, *arguments)


def _errors(received: Float32Array, sent: Float32Array) -> tuple[float, float]:
    error = received.astype(np.float64) - sent
    span = float(np.ptp(sent)) or 1.0
    return float(np.abs(error).max()) / span, float(np.sqrt(np.mean(error**2))) / span


def _methods() -> list[_Method]:
    lz4, blosc2 = importlib.import_module("lz4.frame"), importlib.import_module("blosc2")
    zstd = importlib.import_module("zstandard")
    pack, unpack = zstd.ZstdCompressor(level=1), zstd.ZstdDecompressor()

    def floats(data: bytes) -> Float32Array:
        return np.frombuffer(data, np.float32)

    def lossless(
        name: str, encode: Callable[[Float32Array], Any], decode: Callable[[Any], bytes]
    ) -> _Method:
        def shaped(sent: tuple[Any, tuple[int, ...]]) -> Float32Array:
            return floats(decode(sent[0])).reshape(sent[1])

        return _Method(name, lambda x: (encode(x), x.shape), shaped, lambda sent: len(sent[0]))

    def blosc(codec: str, level: int) -> _Method:
        options = {
            "typesize": 4,
            "clevel": level,
            "filter": blosc2.Filter.SHUFFLE,
            "codec": blosc2.Codec[codec],
        }
        return lossless(
            f"float32 + blosc2 {codec.lower()}-{level}",
            lambda x: blosc2.compress(x, **options),
            blosc2.decompress,
        )

    def quantised(quantiser: Quantiser) -> Iterator[_Method]:
        codec = Codec(quantiser.bits)

        def encode(x: Float32Array) -> Encoded:
            encoded = codec.encode(x)
            frame = np.frombuffer(pack.compress(encoded.payload.data.cast("B")), np.uint8)
            return replace(encoded, payload=frame)

        def decode(encoded: Encoded) -> Float32Array:
            plain = np.frombuffer(unpack.decompress(encoded.payload.data), np.uint8)
            return codec.decode(replace(encoded, payload=plain.reshape(encoded.payload_shape)))

        yield _Method(quantiser.name, codec.encode, codec.decode, _sent_bytes)
        yield _Method(f"{quantiser.name} + zstd-1", encode, decode, _sent_bytes)

    return [
        _Method(
            "float16",
            lambda x: x.astype(np.float16),
            lambda x: x.astype(np.float32),
            lambda x: int(x.nbytes),
        ),
        lossless("float32 + lz4", lambda x: lz4.compress(x.data), lz4.decompress),
        lossless("float32 + zstd-1", lambda x: pack.compress(x.data), unpack.decompress),
        blosc("LZ4", 1),
        blosc("ZSTD", _CLEVEL_BLOSC2_ZSTD),
        *(method for each in quantisers.QUANTISERS for method in quantised(each)),
    ]


def _sent_bytes(encoded: Any) -> int:
    aside = 0 if encoded.outliers is None else OUTLIER_BYTES * len(encoded.outliers.positions)
    return int(encoded.payload.nbytes + encoded.scale.nbytes + encoded.zero.nbytes) + aside


def table(
    folder: ModelFolder, rows: list[CodecRow], outlier_rows: list[OutlierRow], arguments: str
) -> str:
    """Markdown: the machine, the bars, the tables."""
    machine = describe_machine()
    large = [row for row in rows if row.codec == "int8" and np.prod(row.shape) * 4 >= 300_000]
    lines = [
        f"# Codecs on activations of {folder.name}",
        "",
        f"Made by `{COMMAND} {arguments}`. Machine: "
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, numpy "
        f"{machine['numpy']}; other processors than {platform.machine()} were not measured. int8 "
        "and int4 are plain numpy. Medians of interleaved rounds "
        "over photographs (without `--source`, those of scikit-image); in brackets the time over "
        "that of a memcpy of the float32 tensor, measured right before. Errors are shares of the "
        "tensor's range: the largest one, and the root mean square of the worst photograph.",
        "",
        "int8 next to a memcpy, at cuts of 300 kB of float32 or more: encoding "
        f"{_span([row.encode_memcpys for row in large])} times as long, decoding "
        f"{_span([row.decode_memcpys for row in large])}. At smaller cuts a memcpy takes 1 to "
        "5 us, less than a call from Python costs.",
        "",
        "| cut | float32 | codec | times smaller | encode ms | decode ms | max error | RMS error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shape = "x".join(map(str, row.shape[1:]))
        lines.append(
            f"| {row.cut} | {shape}, {np.prod(row.shape) * 4 / 1e3:.0f} kB | {row.codec} | "
            f"{row.ratio:.2f} | {row.encode_s * 1e3:.3f} ({row.encode_memcpys:.1f}) | "
            f"{row.decode_s * 1e3:.3f} ({row.decode_memcpys:.1f}) | {row.max_error:.2%} | "
            f"{row.rms_error:.3%} |"
        )
    return "\n".join([*lines, *_outlier_lines(outlier_rows)]) + "\n"


def _outlier_lines(rows: list[OutlierRow]) -> list[str]:
    return [
        "",
        "## Outliers",
        "",
        f"The same tensors with a value of {_OUTLIER:g} in every channel (at the last cut one in "
        "all). Errors are root mean squares over the tensor's standard deviation, of the values "
        "but those.",
        "",
        "| cut | codec | error | with outliers | bytes | encode ms | with outliers |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row.cut} | {row.codec} | {row.error:.2%} | {row.error_of_others:.2%} | "
            f"+{row.more_bytes - 1:.1%} | {row.encode_s * 1e3:.3f} | "
            f"{row.encode_with_s * 1e3:.3f} |"
            for row in rows
        ),
    ]


def _span(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}" if values else "none"


def _main() -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--model", required=True, help="model folder, or its name under models/")
    parser.add_argument("--source", type=Path, help="folder of photographs")
    parser.add_argument("--rounds", type=cli.positive, default=_ROUNDS, help="per photograph")
    parser.add_argument("--out", type=Path, help="file to write; default: stdout")
    arguments = parser.parse_args()
    folder = ModelFolder.open(arguments.model)
    rows, outlier_rows = measure(folder, arguments.source, arguments.rounds)
    source = "" if arguments.source is None else f" --source {arguments.source}"
    text = table(folder, rows, outlier_rows, f"--model {folder.name}{source}")
    if arguments.out is None:
        sys.stdout.write(text)
    else:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(cli.run(_main))

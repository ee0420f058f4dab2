"""Times, sizes and fidelity of each cut of a network on this machine."""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from common.progress import progress
from partition.codec.codec import Codec
from partition.codec.encoded import MIN_DIMS
from partition.codec.message_sizes import request_bytes
from partition.data.images import load_crops, load_photographs, typical_jpeg_bytes
from partition.errors import ImageError, PartitionError
from partition.model.folder import PROFILE_SCHEMA_VERSION, ModelFolder
from partition.model.machine import describe_machine
from partition.model.runtime import Array, SplitRuntime, random_inputs
from partition.model.split_point import SplitPoint

_MIN_CROPS = 120
_WARM_UP_ROUNDS = 3
_THREAD_ROUNDS = 15
_NEAR_FASTEST = 1.05


def timed(function: Callable[..., Any], *arguments: object) -> float:
    """Seconds that one call takes."""
    start_s = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start_s


def profile(
    folder: ModelFolder,
    source: Path | None = None,
    repeats: int = 30,
    threads: int | None = None,
) -> dict[str, Any]:
    """Measure every split point and every block.

    Args:
        folder: the model.
        source: photographs for the agreement; None takes those of scikit-image. A network that
            takes no photographs gets random inputs.
        repeats: timed runs behind each median.
        threads: threads per inference; None finds the best number.

    Raises:
        ImageError: there are no photographs, or one cannot be decoded.
    """
    folder = folder.plain  # of the network as it is
    threads = threads or fastest_threads(folder)
    runtime = SplitRuntime(folder, threads)
    samples = _samples(folder, source)
    points = [
        _profile_point(runtime, point, samples[0], repeats)
        for point in progress("measuring cuts", folder.split_points)
    ]
    for entry, agreement, error in zip(points, *_fidelity(folder, runtime, samples), strict=True):
        entry |= {"agreement": agreement, "codec_error": error}
    return {
        "schema_version": PROFILE_SCHEMA_VERSION,
        "model": folder.name,
        "fingerprint": folder.fingerprint,
        "cut_list": folder.cut_list_fingerprint,
        "machine": describe_machine(),
        "threads": threads,
        "repeats": repeats,
        "crops": len(samples),
        "whole_s": points[0]["whole_s"],
        "input": describe_input(folder, source),
        "split_points": points,
        "blocks": [
            {**count, "latency_s": _block_s(runtime, start, end, samples[0], repeats)}
            for count, (start, end) in progress(
                "measuring blocks",
                list(zip(count_blocks(folder), pairwise(folder.cuts), strict=True)),
            )
        ],
    }


def fastest_threads(folder: ModelFolder, rounds: int = _THREAD_ROUNDS) -> int:
    """The smallest number of threads that is within 5 % of the fastest for the whole network."""
    numbers = [1 << i for i in range((os.cpu_count() or 1).bit_length())]
    runtimes = {number: SplitRuntime(folder, number) for number in numbers}
    inputs = random_inputs(folder)
    seconds: dict[int, list[float]] = {number: [] for number in numbers}
    for _ in progress("finding the best number of threads", range(rounds + _WARM_UP_ROUNDS)):
        for number, runtime in runtimes.items():
            seconds[number].append(timed(runtime.whole, inputs))
    medians = {n: statistics.median(s[_WARM_UP_ROUNDS:]) for n, s in seconds.items()}
    limit_s = _NEAR_FASTEST * min(medians.values())
    return next(number for number in numbers if medians[number] <= limit_s)


def describe_input(folder: ModelFolder, source: Path | None = None) -> dict[str, Any]:
    """Bytes of the input as it would really be sent.

    Returns:
        raw_bytes: an image with a byte per value; other inputs as they are.
        jpeg_bytes: a typical photograph of that size as JPEG; None for other inputs, or where
            there are no photographs.
    """
    if folder.preprocess is None:
        return {"raw_bytes": folder.cuts[0].float32_bytes, "jpeg_bytes": None}
    try:
        jpeg_bytes = typical_jpeg_bytes(source, folder.preprocess)
    except ImageError:
        jpeg_bytes = None
    return {"raw_bytes": math.prod(folder.input_shape), "jpeg_bytes": jpeg_bytes}


def count_blocks(folder: ModelFolder) -> list[dict[str, Any]]:
    """What each block between neighbouring cuts computes, holds and hands on.

    `compression` is the number of values at the block's end over that of the input. Below 1 the
    end is a natural bottleneck; a compressive one is smaller than every one before it, too
    (Bakhtiarnia et al., arXiv 2205.11269).
    """
    blocks = []
    input_values = _values(folder.cuts[0])
    least = input_values
    for start, end in pairwise(folder.cuts):
        values = _values(end)
        blocks.append(
            {
                "name": end.name,
                "flops": end.head.flops - start.head.flops,
                "param_bytes": end.head.param_bytes - start.head.param_bytes,
                "traffic_bytes": end.head.traffic_bytes - start.head.traffic_bytes,
                "kernels": end.head.kernels - start.head.kernels,
                "peak_bytes": end.peak_bytes,
                "tensors": len(end.tensors),
                "cut_bytes": end.float32_bytes,
                "int8_bytes": request_bytes(end.shapes, dtypes=end.dtypes),
                "compression": values / input_values,
                "natural": values < input_values,
                "compressive": values < least,
            }
        )
        least = min(least, values)
    return blocks


def _values(point: SplitPoint) -> int:
    return sum(math.prod(shape) for shape in point.shapes)


def _samples(folder: ModelFolder, source: Path | None) -> list[tuple[Array, ...]]:
    """At least `_MIN_CROPS`, whatever the number of photographs."""
    if folder.preprocess is None:
        return [random_inputs(folder, seed=seed) for seed in range(_MIN_CROPS)]
    photographs = load_photographs(source, folder.preprocess)
    per_image = math.ceil(_MIN_CROPS / len(photographs))
    return [(crop.tensor,) for crop in load_crops(source, folder.preprocess, per_image)]


def _profile_point(
    runtime: SplitRuntime, point: SplitPoint, inputs: tuple[Array, ...], repeats: int
) -> dict[str, Any]:
    codec = Codec()
    samples: dict[str, list[float]] = {}

    def measure(name: str, function: Callable[..., Any], *arguments: object) -> None:
        samples.setdefault(name, []).append(timed(function, *arguments))

    # Interleaved, so that a noisy machine hits whole and split alike.
    for _ in range(repeats + _WARM_UP_ROUNDS):
        tensors = runtime.head(point, inputs)
        maps = [tensor for tensor in tensors if _is_feature_map(tensor)]
        encoded = [codec.encode(tensor) for tensor in maps]
        measure("whole_s", runtime.whole, inputs)
        measure("head_s", runtime.head, point, inputs)
        measure("tail_s", runtime.tail, point, tensors)
        measure("encode_s", lambda: [codec.encode(tensor) for tensor in maps])  # noqa: B023
        measure("decode_s", lambda: [codec.decode(tensor) for tensor in encoded])  # noqa: B023
    medians = {name: statistics.median(s[_WARM_UP_ROUNDS:]) for name, s in samples.items()}
    return {
        "name": point.name,
        "shapes": point.shapes,
        "wire_bytes": point.wire_bytes,
        "float32_bytes": point.float32_bytes,
        **{f"head_{key}": value for key, value in asdict(point.head).items()},
        **{f"tail_{key}": value for key, value in asdict(point.tail).items()},
        **medians,
        "split_ratio": (medians["head_s"] + medians["tail_s"]) / medians["whole_s"],
    }


def _is_feature_map(tensor: Array) -> bool:
    """Whether the codec takes it; token ids and masks cross as they are."""
    return tensor.dtype == np.float32 and tensor.ndim >= MIN_DIMS


def _block_s(
    runtime: SplitRuntime,
    start: SplitPoint,
    end: SplitPoint,
    inputs: tuple[Array, ...],
    repeats: int,
) -> float:
    tensors = runtime.head(start, inputs)
    for _ in range(_WARM_UP_ROUNDS):
        runtime.between(start, end, tensors)
    return statistics.median(timed(runtime.between, start, end, tensors) for _ in range(repeats))


def _fidelity(
    folder: ModelFolder, runtime: SplitRuntime, samples: list[tuple[Array, ...]]
) -> tuple[list[float], list[float]]:
    """Per split point: top-1 agreement with the unsplit network, and RMS error of the codec.

    Top-1 is along the last dimension of the first output. The error is relative to the standard
    deviation of the tensor, the worst one of those that cross.
    """
    codec = Codec()
    points = folder.split_points
    agreed, errors = np.zeros(len(points)), np.zeros(len(points))
    for inputs in progress("comparing answers", samples):
        top1 = _top1(runtime.whole(inputs))
        for i, point in enumerate(points[:-1]):
            tensors = runtime.head(point, inputs)
            received = tuple(
                np.array(codec.decode(codec.encode(tensor))) if _is_feature_map(tensor) else tensor
                for tensor in tensors
            )
            agreed[i] += float(np.mean(_top1(runtime.tail(point, received)) == top1))
            errors[i] += max(map(_relative_error, received, tensors))
    agreed[-1] = len(samples)
    return (agreed / len(samples)).tolist(), (errors / len(samples)).tolist()


def _top1(outputs: tuple[Array, ...]) -> Array:
    first: Array = np.atleast_1d(outputs[0])
    return np.asarray(first.argmax(axis=-1))


def _relative_error(received: Array, sent: Array) -> float:
    if sent.dtype.kind != "f" or not sent.std():
        return 0.0
    return float(np.sqrt(np.mean((received - sent) ** 2)) / sent.std())


def write(path: Path, result: dict[str, Any]) -> None:
    """Write what `profile` returned.

    Raises:
        PartitionError: the file cannot be written.
    """
    scratch = path.with_name(f".{path.name}.new")
    try:
        scratch.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise PartitionError(
            f"profile {path} cannot be written ({error.strerror}): choose another --out"
        ) from error

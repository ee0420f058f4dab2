"""Times, sizes and fidelity of each cut of a network on this machine."""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from common.progress import Progress
from partition.codec.codec import Codec
from partition.codec.encoded import is_feature_map
from partition.codec.message_sizes import request_bytes
from partition.data.images import typical_jpeg_bytes
from partition.data.real_inputs import RealInputs, picture_format, real_inputs
from partition.errors import PartitionError
from partition.model import profile_file
from partition.model.folder import ModelFolder
from partition.model.machine import describe_machine
from partition.model.runtime import Array, SplitRuntime, random_inputs
from partition.model.split_point import SplitPoint
from partition.profile.fidelity import Judgement, judge, unknown
from partition.profile.measures import MeasureError
from partition.providers.execution import Execution
from partition.providers.registry import CPU

_MIN_SAMPLES = 120
_WARM_UP_ROUNDS = 3
_THREAD_PASSES, _THREAD_ROUNDS = 3, 5
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
    *,
    measure: str | None = None,
    scale: str | None = None,
    execution: Execution | None = None,
) -> dict[str, Any]:
    """Measure every split point and every block.

    Args:
        folder: the model.
        source: real inputs for the fidelity, see `partition.data.real_inputs`; None takes
            scikit-image's photographs for a network of pictures. Without real inputs the fidelity
            is unknown, and times and codec are measured on random ones.
        repeats: timed runs behind each median.
        threads: threads per inference; None finds the best number.
        measure: name of the measure of fidelity; None takes what suits the outputs.
        scale: of pixels, see `partition.data.pictures.SCALES`; None takes the folder's.
        execution: where it runs; None takes the best providers that work here.

    Raises:
        ImageError: there are no photographs, or one cannot be decoded.
        SampleError: the source does not fit the network.
        MeasureError: the measure does not.
    """
    folder = folder.plain  # of the network as it is
    found = real_inputs(folder, source, scale, _MIN_SAMPLES)
    if measure is not None and found is None:
        raise MeasureError(f"measure {measure!r} needs real inputs: give --source")
    execution = execution or Execution.choose()
    threads = threads or fastest_threads(folder, execution)
    runtime = SplitRuntime(folder, threads, execution)
    samples = found.samples if found else _random(folder)
    with Progress("measuring cuts", len(folder.split_points)) as progress:
        points = [
            _profile_point(runtime, point, samples[0], repeats)
            for point in progress.each(folder.split_points)
        ]
    judged = (
        judge(folder, runtime, samples, _picture_size(folder), measure)
        if found is not None
        else unknown(folder, runtime, samples)
    )
    for entry, values, error in zip(points, judged.points, judged.codec_errors, strict=True):
        entry |= {"fidelity": values, "codec_error": error}
    runs_on = runtime.placement
    runtime.release()
    return {
        "schema_version": profile_file.SCHEMA_VERSION,
        "model": folder.name,
        "fingerprint": folder.fingerprint,
        "cut_list": folder.cut_list_fingerprint,
        "machine": describe_machine(),
        "runs_on": runs_on,
        "threads": threads,
        "repeats": repeats,
        **_describe_fidelity(found, judged),
        "whole_s": points[0]["whole_s"],
        "input": describe_input(folder, found, source),
        "split_points": points,
        "blocks": [
            {**count, "latency_s": seconds}
            for count, seconds in zip(
                count_blocks(folder), _blocks_s(folder, runtime, samples[0], repeats), strict=True
            )
        ],
    }


def _random(folder: ModelFolder) -> list[tuple[Array, ...]]:
    return [random_inputs(folder, seed=seed) for seed in range(_MIN_SAMPLES)]


def _picture_size(folder: ModelFolder) -> tuple[int, int] | None:
    form = picture_format(folder)
    return (form.height, form.width) if form else None


def _describe_fidelity(found: RealInputs | None, judged: Judgement) -> dict[str, Any]:
    """What `fidelity` of the split points means; `measure` is None where it is unknown."""
    kind = judged.kind
    if found is None or kind is None:
        return {"measure": None, "samples": 0, "why": "no real inputs: give --source"}
    about = {"samples": judged.n_samples, "inputs": found.origin}
    if not judged.is_known:
        why = f"too little of what {kind.measure.name!r} measures in these inputs: give others"
        return {"measure": None, **about, "why": why}
    return {"measure": kind.measure.name, **about, "why": kind.why}


def fastest_threads(
    folder: ModelFolder, execution: Execution | None = None, rounds: int = _THREAD_ROUNDS
) -> int:
    """The smallest number of threads that is within 5 % of the fastest for the whole network.

    One on a GPU, where threads compute nothing. The network is loaded with one number at a time:
    all at once would take its memory several times.
    """
    execution = execution or Execution.choose()
    numbers = [1 << i for i in range((os.cpu_count() or 1).bit_length())]
    if execution.providers[0] is not CPU:
        return 1
    inputs = random_inputs(folder)
    seconds: dict[int, list[float]] = {number: [] for number in numbers}
    in_turn = numbers * _THREAD_PASSES  # so that a noisy machine hits all alike
    with Progress("trying numbers of threads", len(in_turn)) as progress:
        for number in progress.each(in_turn):
            runtime = SplitRuntime(folder, number, execution)
            for _ in range(_WARM_UP_ROUNDS):
                runtime.whole(inputs)
            seconds[number] += [timed(runtime.whole, inputs) for _ in range(rounds)]
    medians = {n: statistics.median(s) for n, s in seconds.items()}
    limit_s = _NEAR_FASTEST * min(medians.values())
    return next(number for number in numbers if medians[number] <= limit_s)


def describe_input(
    folder: ModelFolder, found: RealInputs | None, source: Path | None = None
) -> dict[str, Any]:
    """Bytes of the input as it would really be sent.

    Args:
        folder: the model.
        found: its real inputs.
        source: of these, as `profile` takes it.

    Returns:
        raw_bytes: a picture with a byte per value; other inputs as they are.
        jpeg_bytes: a typical picture of that size as JPEG; None without pictures.
    """
    form = picture_format(folder)
    return {
        "raw_bytes": form.pixel_bytes if form else folder.cuts[0].float32_bytes,
        "jpeg_bytes": typical_jpeg_bytes(source, found.picture)
        if found and found.picture
        else None,
    }


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
    return sum(abs(math.prod(shape)) for shape in point.shapes)


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
        maps = [tensor for tensor in tensors if _is_encoded(tensor)]
        encoded = [codec.encode(tensor) for tensor in maps]
        measure("whole_s", runtime.whole, inputs)
        measure("head_s", runtime.head, point, inputs)
        measure("tail_s", runtime.tail, point, tensors)
        measure("encode_s", lambda: [codec.encode(tensor) for tensor in maps])  # noqa: B023
        measure("decode_s", lambda: [codec.decode(tensor) for tensor in encoded])  # noqa: B023
    runtime.release()  # the next point needs another head and tail
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


def _is_encoded(tensor: Array) -> bool:
    return is_feature_map(tensor.shape, tensor.dtype) and bool(np.isfinite(tensor).all())


def _blocks_s(
    folder: ModelFolder, runtime: SplitRuntime, inputs: tuple[Array, ...], repeats: int
) -> Iterator[float]:
    """Median seconds of each block; one is loaded at a time."""
    tensors = inputs
    blocks = list(pairwise(folder.cuts))
    with Progress("measuring blocks", len(blocks)) as progress:
        for start, end in progress.each(blocks):
            for _ in range(_WARM_UP_ROUNDS):
                after = runtime.between(start, end, tensors)
            seconds = (timed(runtime.between, start, end, tensors) for _ in range(repeats))
            yield statistics.median(seconds)
            tensors = after
            runtime.release()


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

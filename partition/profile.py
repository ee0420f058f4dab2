"""Measure a model on this machine: `python -m partition.profile --model M [--out FILE]`.

Counted (FLOPs, bytes, kernels) and measured (latencies, codec error, agreement) stand side by
side, per split point and per block between neighbouring legal cuts.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from partition import cli
from partition.codec import Float32Array, Int8Codec
from partition.errors import PartitionError
from partition.images import Photograph, load_crops, load_photographs
from partition.model_folder import PROFILE_FILE, SCHEMA_VERSION, ModelFolder, SplitPoint
from partition.runtime import SplitRuntime

_MIN_CROPS = 120
_WARM_UP_ROUNDS = 3


def timed(function: Callable[..., Any], *arguments: object) -> float:
    """Seconds that one call takes."""
    start_s = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start_s


def describe_machine() -> dict[str, Any]:
    """Machine and versions that a measurement belongs to."""
    packages = ("numpy", "onnx", "onnxruntime", "grpcio")
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def profile(
    folder: ModelFolder, source: Path | None = None, repeats: int = 30, threads: int = 1
) -> dict[str, Any]:
    """Measure every split point and every block.

    Args:
        folder: the model.
        source: photographs for the agreement; None takes those of scikit-image.
        repeats: timed runs behind each median.
        threads: threads per inference.

    Raises:
        ImageError: there are no photographs, or one cannot be decoded.
    """
    runtime = SplitRuntime(folder, threads)
    crops = _enough_crops(folder, source)
    x = crops[0].tensor
    points = [_profile_point(runtime, point, x, repeats) for point in folder.split_points]
    for entry, agreement, error in zip(points, *_fidelity(folder, runtime, crops), strict=True):
        entry |= {"agreement": agreement, "codec_error": error}
    return {
        "schema_version": SCHEMA_VERSION,
        "model": folder.name,
        "fingerprint": folder.fingerprint,
        "cut_list": folder.cut_list_fingerprint,
        "machine": describe_machine(),
        "threads": threads,
        "repeats": repeats,
        "crops": len(crops),
        "whole_s": points[0]["whole_s"],
        "split_points": points,
        "blocks": [
            _profile_block(runtime, start, end, x, repeats) for start, end in pairwise(folder.cuts)
        ],
    }


def _enough_crops(folder: ModelFolder, source: Path | None) -> list[Photograph]:
    """At least `_MIN_CROPS`, whatever the number of photographs."""
    photographs = load_photographs(source, folder.preprocess)
    return load_crops(source, folder.preprocess, math.ceil(_MIN_CROPS / len(photographs)))


def _profile_point(
    runtime: SplitRuntime, point: SplitPoint, x: Float32Array, repeats: int
) -> dict[str, Any]:
    codec = Int8Codec()
    samples: dict[str, list[float]] = {}

    def measure(name: str, function: Callable[..., Any], *arguments: object) -> None:
        samples.setdefault(name, []).append(timed(function, *arguments))

    # Interleaved, so that a noisy machine hits whole and split alike.
    for _ in range(repeats + _WARM_UP_ROUNDS):
        tensors = runtime.head(point, x)
        encoded = codec.encode(tensors[0])
        measure("whole_s", runtime.whole, x)
        measure("head_s", runtime.head, point, x)
        measure("tail_s", runtime.tail, point, tensors)
        measure("encode_s", codec.encode, tensors[0])
        measure("decode_s", codec.decode, encoded)
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


def _profile_block(
    runtime: SplitRuntime, start: SplitPoint, end: SplitPoint, x: Float32Array, repeats: int
) -> dict[str, Any]:
    tensors = runtime.head(start, x)
    for _ in range(_WARM_UP_ROUNDS):
        runtime.between(start, end, tensors)
    samples = [timed(lambda: runtime.between(start, end, tensors)) for _ in range(repeats)]
    return {
        "name": end.name,
        "latency_s": statistics.median(samples),
        "flops": end.head.flops - start.head.flops,
        "param_bytes": end.head.param_bytes - start.head.param_bytes,
        "traffic_bytes": end.head.traffic_bytes - start.head.traffic_bytes,
        "kernels": end.head.kernels - start.head.kernels,
        "cut_bytes": end.float32_bytes,
    }


def _fidelity(
    folder: ModelFolder, runtime: SplitRuntime, crops: list[Photograph]
) -> tuple[list[float], list[float]]:
    """Per split point: top-1 agreement with the unsplit network, and RMS error of the codec.

    The error is relative to the standard deviation of the tensor.
    """
    codec = Int8Codec()
    points = folder.split_points
    agreed, errors = np.zeros(len(points)), np.zeros(len(points))
    for crop in crops:
        top1 = int(runtime.whole(crop.tensor).argmax())
        for i, point in enumerate(points[:-1]):
            (tensor,) = runtime.head(point, crop.tensor)
            decoded = codec.decode(codec.encode(tensor))
            agreed[i] += int(runtime.tail(point, (decoded,)).argmax()) == top1
            errors[i] += float(np.sqrt(np.mean((decoded - tensor) ** 2)) / tensor.std())
    agreed[-1] = len(crops)
    return (agreed / len(crops)).tolist(), (errors / len(crops)).tolist()


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _table(result: dict[str, Any]) -> str:
    lines = [
        f"{result['model']} {result['fingerprint']}: {result['whole_s'] * 1e3:.2f} ms unsplit, "
        f"{result['threads']} thread(s), medians of {result['repeats']}, "
        f"agreement over {result['crops']} crops",
        f"{'split point':28} {'wire kB':>8} {'head ms':>8} {'tail ms':>8} {'ratio':>6} "
        f"{'codec us':>8} {'agree':>6}",
    ]
    for point in result["split_points"]:
        codec_s = point["encode_s"] + point["decode_s"]
        lines.append(
            f"{point['name']:28} {point['wire_bytes'] / 1e3:8.1f} {point['head_s'] * 1e3:8.2f} "
            f"{point['tail_s'] * 1e3:8.2f} {point['split_ratio']:6.3f} {codec_s * 1e6:8.0f} "
            f"{point['agreement']:6.3f}"
        )
    lines.append(f"{'block':28} {'ms':>8} {'MFLOP':>8} {'kB par':>8} {'kB moved':>8} {'kB cut':>8}")
    for block in result["blocks"]:
        counts = (block["flops"] / 1e6, block["param_bytes"] / 1e3, block["traffic_bytes"] / 1e3)
        lines.append(
            f"{block['name']:28} {block['latency_s'] * 1e3:8.3f} "
            + " ".join(f"{count:8.1f}" for count in (*counts, block["cut_bytes"] / 1e3))
        )
    return "\n".join(lines) + "\n"


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


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m partition.profile", description=__doc__)
    parser.add_argument("--model", required=True, help="model folder, or its name under models/")
    parser.add_argument("--out", type=Path, help="JSON file (default: in the model folder)")
    parser.add_argument(
        "--repeats", type=cli.positive, default=30, help="timed runs behind each median"
    )
    parser.add_argument("--threads", type=cli.positive, default=1, help="threads per inference")
    parser.add_argument("--source", type=Path, help="folder of photographs")
    arguments = parser.parse_args()
    folder = ModelFolder.open(arguments.model)
    result = profile(folder, arguments.source, arguments.repeats, arguments.threads)
    result["command"] = " ".join(["python -m partition.profile", *sys.argv[1:]])
    write(arguments.out or folder.path / PROFILE_FILE, result)
    sys.stdout.write(_table(result))


if __name__ == "__main__":
    sys.exit(cli.run(_main))

"""Overhead of the split over its lower bounds: `python -m benchmarks.split_overhead --model M`.

Every figure is a ratio of medians from interleaved runs, or a time next to the size it is for.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import numpy as np

from partition import cli
from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.model.folder import ModelFolder
from partition.model.machine import describe_machine
from partition.model.runtime import Array, SplitRuntime, random_inputs
from partition.model.split_point import SplitPoint
from partition.profile.measure import timed
from partition.server.cloud_server import CloudServer
from partition.transport import grpc_options, rpc

_ROUNDS = 200
_WARM_UP_ROUNDS = 20
_CODEC_SHAPE = (1, 32, 56, 56)
"""401 kB as float32."""
_WIRE_SHAPE = (1, 32, 112, 112)
"""401 kB as int8."""


class _InstantTail(SplitRuntime):
    """Answers at once, so that only the way there and back is measured."""

    def __init__(self, folder: ModelFolder) -> None:
        super().__init__(folder)
        self._answer = tuple(np.zeros(spec.shape, spec.dtype) for spec in folder.outputs)

    def tail(
        self,
        point: SplitPoint,
        tensors: tuple[Array, ...],
    ) -> tuple[Array, ...]:
        return self._answer


def measure_floors(folder: ModelFolder) -> dict[str, Any]:
    """Transport, codec and split overheads on this machine, all in one run.

    Returns:
        machine: what it ran on.
        bare_s: a bare gRPC unary call with 401 kB.
        client_s, client_ratio: `CloudClient.infer` with a message of the same size (packing and
            all checks included, no network behind it), without the server's decoding.
        client_decoded_s, client_decoded_ratio: the same with the decoding.
        codec_s: int8 encode plus decode of 401 kB of float32.
        encode_ratio, decode_ratio: each of them over a memcpy of the float32.
        split_ratio: head plus tail over the unsplit network, per split point.
    """
    return {
        "machine": describe_machine(),
        **_transport(folder),
        **_codec(),
        "split_ratio": _split_ratios(folder),
    }


def _interleaved(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[float, float]:
    """Median seconds of both, alternating: a noisy machine hits both alike."""
    pairs = [(timed(first), timed(second)) for _ in range(_ROUNDS + _WARM_UP_ROUNDS)]
    first_s, second_s = zip(*pairs[_WARM_UP_ROUNDS:], strict=True)
    return statistics.median(first_s), statistics.median(second_s)


def _transport(folder: ModelFolder) -> dict[str, float]:
    point = replace(folder.split_points[0], shapes=(_WIRE_SHAPE,))
    folder = replace(folder, split_points=(point, folder.split_points[-1]))
    tensor = np.random.default_rng(0).normal(size=_WIRE_SHAPE).astype(np.float32)
    encoded = (Codec().encode(tensor),)
    message = bytes(point.wire_bytes)
    decode_s = []
    with CloudServer(folder, _InstantTail(folder)) as server:
        address = f"127.0.0.1:{server.port}"
        with (
            grpc.insecure_channel(
                address, options=(*grpc_options.SIZES, grpc_options.NO_PROXY)
            ) as channel,
            CloudClient(address, folder) as client,
        ):
            echo = channel.unary_unary(rpc.method_path(rpc.ECHO))
            bare_s, decoded_s = _interleaved(
                lambda: echo(message, timeout=1.0),
                lambda: decode_s.append(client.infer(point, encoded, 1.0).compute_s),
            )
    client_s = decoded_s - statistics.median(decode_s[_WARM_UP_ROUNDS:])
    return {
        "bare_s": bare_s,
        "client_s": client_s,
        "client_ratio": client_s / bare_s,
        "client_decoded_s": decoded_s,
        "client_decoded_ratio": decoded_s / bare_s,
    }


def _codec() -> dict[str, Any]:
    codec = Codec()
    tensor = np.random.default_rng(0).normal(size=_CODEC_SHAPE).astype(np.float32)
    encoded, target = Codec().encode(tensor), np.empty_like(tensor)
    samples = [
        (
            timed(np.copyto, target, tensor),
            timed(codec.encode, tensor),
            timed(codec.decode, encoded),
        )
        for _ in range(_ROUNDS + _WARM_UP_ROUNDS)
    ]
    memcpy_s, encode_s, decode_s = (
        statistics.median(each) for each in zip(*samples[_WARM_UP_ROUNDS:], strict=True)
    )
    return {
        "codec_s": encode_s + decode_s,
        "encode_ratio": encode_s / memcpy_s,
        "decode_ratio": decode_s / memcpy_s,
    }


def _split_ratios(folder: ModelFolder) -> dict[str, float]:
    runtime = SplitRuntime(folder)
    inputs = random_inputs(folder)

    def ratio(point: SplitPoint) -> float:
        whole_s, split_s = _interleaved(
            lambda: runtime.whole(inputs), lambda: runtime.tail(point, runtime.head(point, inputs))
        )
        return split_s / whole_s

    return {point.name: ratio(point) for point in folder.split_points[1:-1]}


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.split_overhead", description=__doc__
    )
    parser.add_argument("--model", required=True, help="model folder, or its name under models/")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    floors = measure_floors(ModelFolder.open(arguments.model))
    if arguments.json:
        sys.stdout.write(json.dumps(floors) + "\n")
        return
    sys.stdout.write(
        f"client to reply, 401 kB: {floors['client_s'] * 1e3:.3f} ms, "
        f"{floors['client_ratio']:.2f} times a bare gRPC unary call "
        f"({floors['client_decoded_ratio']:.2f} with the int8 decoding)\n"
        f"int8 encode and decode, 401 kB of float32: {floors['codec_s'] * 1e3:.3f} ms, "
        f"{floors['encode_ratio']:.2f} and {floors['decode_ratio']:.2f} times a memcpy\n"
    )
    for name, ratio in floors["split_ratio"].items():
        sys.stdout.write(f"head plus tail over the whole at {name}: {ratio:.3f}\n")


if __name__ == "__main__":
    sys.exit(cli.run(_main))

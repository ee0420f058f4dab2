"""A prepared network through a real server: what comes back, against the local tail."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from partition.codec.codec import Codec, Encoded
from partition.edge.client import CloudClient
from partition.edge.pipeline import SplitPipeline
from partition.model.folder import ModelFolder
from partition.model.routes import Route
from partition.model.runtime import Array, SplitRuntime
from partition.model.split_point import SplitPoint
from partition.transport import wire

DEADLINE_S = 60.0
AT_ONCE = 3
SAME = 1e-4
"""Of an answer that was computed in a batch, relative to its largest value."""

Tensors = tuple[Encoded | wire.Raw, ...]
Inputs = Callable[[int], tuple[Array, ...]]


class _Listening:
    """A client that remembers what was sent last."""

    def __init__(self, client: CloudClient) -> None:
        self._client = client
        self.sent: Tensors = ()

    def expected_s(self, point: SplitPoint, message_bytes: int) -> float:
        return self._client.expected_s(point, message_bytes)

    def check(self, point: SplitPoint, message_bytes: int, deadline_s: float) -> None:
        self._client.check(point, message_bytes, deadline_s)

    def refresh(self) -> None:
        self._client.refresh()

    def infer(self, point: SplitPoint, encoded: Tensors, deadline_s: float, host) -> wire.Reply:
        self.sent = encoded
        return self._client.infer(point, encoded, deadline_s, host)


class WrongAnswerError(AssertionError):
    """The server's answer is not what the tail gives here."""


def served_points(address: str, folder: ModelFolder, runtime: SplitRuntime, inputs: Inputs) -> int:
    """Split points at which the server's answer is the local tail's, bit for bit.

    Several requests are then under way at once, so that the server makes batches of them.

    Args:
        address: of a server that has the model.
        folder: the model.
        runtime: of this side.
        inputs: for one sample, from a seed.

    Raises:
        WrongAnswerError: it is another.
        PartitionError: the server refuses, or is not there.
    """
    points = folder.split_points[:-1]
    with (
        CloudClient(address, folder) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        client.connect(10.0)
        ear = _Listening(client)
        pipeline = SplitPipeline(folder, runtime, ear)
        for point in points:
            sent = [
                _one(pipeline, ear, runtime, point, inputs(seed), exact=True)
                for seed in range(AT_ONCE)
            ]
            if folder.dynamic_batch:
                _at_once(pool, client, runtime, point, sent)
    return len(points)


def _one(pipeline, ear, runtime, point, inputs, *, exact) -> Tensors:
    """Have one input answered by the pipeline, and say what crossed."""
    result = pipeline.infer(inputs, Route(split=point.index), DEADLINE_S)
    if result.served_by != "cloud":
        raise WrongAnswerError(f"at {point.name} the edge had to answer: {result.fallback}")
    _compare(point, result.outputs, runtime.tail(point, _decoded(ear.sent)), exact=exact)
    return ear.sent


def _at_once(pool, client, runtime, point, sent: list[Tensors]) -> None:
    replies = list(pool.map(lambda one: client.infer(point, one, DEADLINE_S), sent))
    for one, reply in zip(sent, replies, strict=True):
        _compare(point, reply.outputs, runtime.tail(point, _decoded(one)), exact=False)


def _decoded(sent: Tensors) -> tuple[Array, ...]:
    return tuple(
        Codec().decode(tensor) if isinstance(tensor, Encoded) else tensor.array for tensor in sent
    )


def _compare(point: SplitPoint, answered, expected, *, exact: bool) -> None:
    for ours, theirs in zip(answered, expected, strict=True):
        if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
            raise WrongAnswerError(
                f"at {point.name} {ours.dtype} {ours.shape} comes back, not {theirs.dtype} "
                f"{theirs.shape}"
            )
        if np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"):
            continue
        scale = float(np.abs(theirs).max())
        if exact or not np.allclose(ours, theirs, rtol=0, atol=SAME * scale, equal_nan=True):
            raise WrongAnswerError(f"at {point.name} another answer comes back")


@contextmanager
def served(folder: ModelFolder) -> Iterator[str]:
    """The command, on a free port; its address."""
    command = [sys.executable, "-m", "partition.server", "--model", str(folder.path)]
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        try:
            line = server.stdout.readline()
            if not line.startswith("serving "):
                raise WrongAnswerError(f"the server does not start: {line.strip()}")
            yield line.split()[-1]
        finally:
            server.terminate()
            server.wait(30)

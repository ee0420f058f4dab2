"""One inference along a route: head on the edge, tail in the cloud, or back on the edge."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from partition.client import CloudClient, CloudReply
from partition.codec import Float32Array, Int8Codec
from partition.errors import CloudError, PartitionError
from partition.model_folder import ModelFolder, SplitPoint
from partition.runtime import SplitRuntime


class EdgeTimer(Protocol):
    """Wraps each piece of edge compute, for instance to pace it to a simulated board."""

    def head(self, split: SplitPoint) -> AbstractContextManager[object]:
        """Around the head of `split`."""

    def tail(self, split: SplitPoint) -> AbstractContextManager[object]:
        """Around the tail of `split` when it falls back to the edge."""


@dataclass(frozen=True, slots=True)
class Route:
    """How one inference is served."""

    split: int
    """Index into `ModelFolder.split_points`."""


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """Answer and where the time went; a part that did not happen took 0."""

    logits: Float32Array
    """(1, n_classes)."""
    latency_s: float
    """From the input to the logits."""
    edge_s: float
    """Head, and the tail after a fallback."""
    codec_s: float
    """Encoding on the edge."""
    transfer_s: float
    """Round trip without the server's compute, or the time lost on a cloud that failed."""
    cloud_s: float
    """Compute in the server."""
    uplink_bytes: int
    """Bytes of the request if it was served."""
    served_by: Literal["edge", "cloud"]
    fallback: str | None = None
    """Why the edge had to finish what was meant for the cloud."""
    cloud_load: float | None = None
    """Busy share of the server, 0..1, when it answered."""


class _NoTimer:
    def head(self, split: SplitPoint) -> AbstractContextManager[object]:
        return nullcontext()

    tail = head


class SplitPipeline:
    """Runs one model along routes; not for use from two threads at once.

    Args:
        folder: the model.
        runtime: what runs heads and tails here.
        client: the link to the cloud; None sends every offload back to the edge.
        edge_timer: wrapped around each piece of edge compute.
    """

    def __init__(
        self,
        folder: ModelFolder,
        runtime: SplitRuntime,
        client: CloudClient | None = None,
        edge_timer: EdgeTimer | None = None,
    ) -> None:
        self._folder = folder
        self._runtime = runtime
        self._client = client
        self._timer = edge_timer or _NoTimer()
        self._codec = Int8Codec()
        self._tail_s: dict[int, float] = {}

    def warm_up(self) -> None:
        """Build every session and learn how long each tail takes here, before the first request."""
        x = np.zeros(self._folder.input_shape, np.float32)
        for point in self._folder.split_points:
            tensors = self._runtime.head(point, x)
            self._runtime.tail(point, tensors)
            self._local_tail(point, tensors)

    def infer(self, x: Float32Array, route: Route, deadline_s: float) -> InferenceResult:
        """Run the network on one input.

        A cloud that is late or gone costs at most the deadline: the edge then finishes from the
        head's tensors.

        Args:
            x: (1, 3, H, W), preprocessed.
            route: where to cut.
            deadline_s: time for the whole inference.

        Raises:
            PartitionError: there is no such split point.
            WireError: the cut tensor holds NaN or infinity.
        """
        if not 0 <= route.split < len(self._folder.split_points):
            last = len(self._folder.split_points) - 1
            raise PartitionError(f"no split point {route.split}: choose one from 0 to {last}")
        point = self._folder.split_points[route.split]
        start_s = time.monotonic()
        with self._timer.head(point):
            tensors = self._runtime.head(point, x)
        head_s = time.monotonic() - start_s
        if point.is_output:
            return InferenceResult(tensors[0], head_s, head_s, 0.0, 0.0, 0.0, 0, "edge")
        codec_s, sent_s = 0.0, time.monotonic()
        try:
            codec_s, reply = self._offload(point, tensors, start_s + deadline_s)
        except CloudError as error:
            lost_s = time.monotonic() - sent_s
            logits, tail_s = self._local_tail(point, tensors)
            edge_s = head_s + tail_s
            latency_s = time.monotonic() - start_s
            return InferenceResult(
                logits, latency_s, edge_s, 0.0, lost_s, 0.0, 0, "edge", str(error)
            )
        return InferenceResult(
            reply.logits,
            time.monotonic() - start_s,
            head_s,
            codec_s,
            reply.round_trip_s - reply.compute_s,
            reply.compute_s,
            reply.uplink_bytes,
            "cloud",
            cloud_load=reply.load,
        )

    def _offload(
        self, point: SplitPoint, tensors: tuple[Float32Array, ...], due_s: float
    ) -> tuple[float, CloudReply]:
        """Encoding time and the server's reply."""
        if self._client is None:
            raise CloudError("no cloud")
        start_s = time.monotonic()
        encoded = tuple(self._codec.encode(tensor) for tensor in tensors)
        now_s = time.monotonic()
        budget_s = self._cloud_budget_s(point, due_s - now_s)
        return now_s - start_s, self._client.infer(point, encoded, budget_s)

    def _cloud_budget_s(self, point: SplitPoint, remaining_s: float) -> float:
        """Time to wait for the cloud.

        What the local tail needs is kept back, unless that leaves the cloud less than half: then
        the edge would hardly make it either, and the cloud is the better bet.
        """
        if remaining_s <= 0:
            raise CloudError("deadline passed before the request was sent")
        tail_s = self._tail_s.get(point.index, 0.0)
        return remaining_s - tail_s if tail_s < remaining_s / 2 else remaining_s

    def _local_tail(
        self, point: SplitPoint, tensors: tuple[Float32Array, ...]
    ) -> tuple[Float32Array, float]:
        start_s = time.monotonic()
        with self._timer.tail(point):
            logits = self._runtime.tail(point, tensors)
        self._tail_s[point.index] = time.monotonic() - start_s
        return logits, self._tail_s[point.index]

"""One inference along a route: head on the edge, tail in the cloud, or back on the edge."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from partition import compression, wire
from partition.client import CloudClient, CloudReply
from partition.codec import Codec, Encoded
from partition.encoded import MIN_DIMS
from partition.errors import CloudError, PartitionError
from partition.model_folder import ModelFolder, SplitPoint
from partition.runtime import SplitRuntime, random_inputs

Arrays = tuple[npt.NDArray[Any], ...]

# How fast a tail's time is forgotten when it was slower once.
_SMOOTHING = 0.1
_SLACK = 1.2
"""Time kept back for the tail on the edge, over what it took."""
_SLACK_S = 0.0005


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

    outputs: Arrays
    """Of the network; a classifier's first one is (1, n_classes)."""
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

    @property
    def logits(self) -> npt.NDArray[Any]:
        """The first output."""
        return self.outputs[0]


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
        compress: let zstd shrink what is sent where the link's estimate says that it pays.
    """

    def __init__(
        self,
        folder: ModelFolder,
        runtime: SplitRuntime,
        client: CloudClient | None = None,
        edge_timer: EdgeTimer | None = None,
        *,
        compress: bool = False,
    ) -> None:
        self._folder = folder
        self._runtime = runtime
        self._client = client
        self._timer = edge_timer or _NoTimer()
        self._compress = compress
        self._codec = Codec()
        self._tail_s: dict[int, float] = {}
        self._probes: dict[tuple[int, int], compression.CompressionProbe] = {}

    def warm_up(self) -> None:
        """Build every session and learn how long each tail takes here, before the first request."""
        inputs = random_inputs(self._folder)
        for point in self._folder.split_points:
            tensors = self._runtime.head(point, inputs)
            self._runtime.tail(point, tensors)
            self._local_tail(point, tensors)

    def infer(
        self, x: npt.NDArray[Any] | Arrays, route: Route, deadline_s: float
    ) -> InferenceResult:
        """Run the network on one input.

        A cloud that is late or gone costs at most the deadline: the edge then finishes from the
        head's tensors, within the deadline if its tail fits in there at all.

        Args:
            x: of an image network (1, 3, H, W), preprocessed; or several inputs.
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
        inputs = x if isinstance(x, tuple) else (x,)
        start_s = time.monotonic()
        with self._timer.head(point):
            tensors = self._runtime.head(point, inputs)
        head_s = time.monotonic() - start_s
        if point.is_output:
            return InferenceResult(tensors, head_s, head_s, 0.0, 0.0, 0.0, 0, "edge")
        codec_s, sent_s = 0.0, time.monotonic()
        try:
            codec_s, reply = self._offload(point, tensors, start_s + deadline_s)
        except CloudError as error:
            lost_s = time.monotonic() - sent_s
            outputs, tail_s = self._local_tail(point, tensors)
            edge_s = head_s + tail_s
            latency_s = time.monotonic() - start_s
            return InferenceResult(
                outputs, latency_s, edge_s, 0.0, lost_s, 0.0, 0, "edge", str(error)
            )
        return InferenceResult(
            reply.outputs,
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
        self, point: SplitPoint, tensors: Arrays, due_s: float
    ) -> tuple[float, CloudReply]:
        """Encoding time and the server's reply."""
        if self._client is None:
            raise CloudError("no cloud")
        start_s = time.monotonic()
        encoded = tuple(self._encode(point, i, tensor) for i, tensor in enumerate(tensors))
        now_s = time.monotonic()
        budget_s = self._cloud_budget_s(point, due_s - now_s)
        return now_s - start_s, self._client.infer(point, encoded, budget_s)

    def _encode(
        self, point: SplitPoint, position: int, tensor: npt.NDArray[Any]
    ) -> Encoded | wire.Raw:
        """A feature map quantised, and compressed where the link is slow enough for that to pay."""
        if tensor.dtype != np.float32 or tensor.ndim < MIN_DIMS:
            return wire.Raw(tensor)
        encoded = self._codec.encode(tensor)
        link = self._client.link if self._compress and self._client is not None else None
        if link is None:
            return encoded
        key = (point.index, position)
        if key not in self._probes:
            self._probes[key] = compression.probe_compression(encoded)
        if not compression.worth_compressing(link.rate_bps, self._probes[key]):
            return encoded
        return compression.compress(encoded)

    def _cloud_budget_s(self, point: SplitPoint, remaining_s: float) -> float:
        """Time to wait for the cloud.

        What the local tail needs is kept back; where it does not fit into the deadline, the cloud
        is the only chance and gets all of it.
        """
        if remaining_s <= 0:
            raise CloudError("deadline passed before the request was sent")
        kept_s = _SLACK * self._tail_s.get(point.index, 0.0) + _SLACK_S
        return remaining_s - kept_s if kept_s < remaining_s else remaining_s

    def _local_tail(self, point: SplitPoint, tensors: Arrays) -> tuple[Arrays, float]:
        start_s = time.monotonic()
        with self._timer.tail(point):
            outputs = self._runtime.tail(point, tensors)
        tail_s = time.monotonic() - start_s
        before_s = self._tail_s.get(point.index, tail_s)
        self._tail_s[point.index] = max(tail_s, before_s + _SMOOTHING * (tail_s - before_s))
        return outputs, tail_s

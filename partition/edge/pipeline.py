"""One inference along a route: head on the edge, tail in the cloud, or back on the edge.

With attention at the cut, the edge keeps the channels that matter most and answers from them by its
light branch, the cloud answers from the others, and both answers are fused (DVFO). An answer that
does not come is replaced by the light branch's on all channels.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from common.progress import FIRST_LINE_S, Progress
from partition.attention.runtime import AttentionRuntime, EdgeAnswer
from partition.attention.select import fused
from partition.codec import quantisers
from partition.codec.codec import Codec
from partition.codec.encoded import Encoded, Uint16Array
from partition.edge import offload_rule
from partition.edge.answers import SpecialNumbers
from partition.edge.client import CloudClient
from partition.edge.finish_times import FinishTimes
from partition.edge.host_work import HostWork
from partition.errors import CloudError, CloudUnavailableError, PartitionError, WireError
from partition.model.accuracy_table import AccuracyTable
from partition.model.folder import ModelFolder
from partition.model.inputs import as_inputs
from partition.model.routes import Route
from partition.model.runtime import SplitRuntime, random_inputs
from partition.model.split_point import SplitPoint
from partition.transport import wire

__all__ = ["EdgeTimer", "InferenceResult", "Route", "SplitPipeline"]

logger = logging.getLogger(__name__)

Arrays = tuple[npt.NDArray[Any], ...]
Inputs = npt.NDArray[Any] | Arrays | Callable[[], Arrays]
"""Of a network with one input, of one with several, or what prepares them for one request."""

_MOST_RAW = 0.5
"""Share of a message's expected bytes that tensors without levels may take: a longer one would come
later than whoever chose the route expected."""


class EdgeTimer(Protocol):
    """Wraps what this side computes, for instance to pace it to a simulated board."""

    def edge(self, route: Route) -> AbstractContextManager[object]:
        """Around what runs before anything is sent."""

    def fallback(self, route: Route) -> AbstractContextManager[object]:
        """Around what is left to do here when no answer comes."""

    def fallback_s(self, route: Route) -> float | None:
        """Time that this takes by a model at the clocks in force, s; None without a model."""

    def host(self) -> AbstractContextManager[object]:
        """Around work of the processor beside the network: inputs, codec and messages."""


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """Answer and where the time went; a part that did not happen took 0."""

    outputs: Arrays
    """Of the network; a classifier's first one is (1, n_classes)."""
    latency_s: float
    """From the input, prepared or not, to the outputs."""
    edge_s: float
    """Head, light branch, and what was left to do after a fallback."""
    codec_s: float = 0.0
    """Encoding on the edge."""
    away_s: float = 0.0
    """Round trip, the server's time included but not that of packing and unpacking here; or the
    time lost on a cloud that failed, all of it."""
    host_s: float = 0.0
    """Preparing the input, encoding, packing and unpacking: work of this side's processor."""
    reply: wire.Reply | None = None
    """The cloud's answer, before the edge's was fused with it; None where the edge answered."""
    fallback: str | None = None
    """Why the edge had to finish what was meant for the cloud."""
    failure: type[CloudError | WireError] | None = None
    """The kind of that; `HopelessError` where an estimate alone spoke against sending, which is
    better measured again: by `CloudClient.refresh`, once whoever waits has the answer."""

    @property
    def served_by(self) -> Literal["edge", "cloud"]:
        """Where the answer was finished."""
        return "edge" if self.reply is None else "cloud"

    @property
    def logits(self) -> npt.NDArray[Any]:
        """The first output."""
        return self.outputs[0]


class _NoTimer:
    def edge(self, route: Route) -> AbstractContextManager[object]:
        return nullcontext()

    fallback = edge

    def fallback_s(self, route: Route) -> float | None:
        return None

    def host(self) -> AbstractContextManager[object]:
        return nullcontext()


@dataclass(frozen=True, slots=True)
class _Head:
    """What the edge holds before anything is sent."""

    tensors: Arrays
    answer: EdgeAnswer | None = None
    """Of the light branch; None where everything is sent."""
    edge_weight: float = 0.0
    """Its weight in the fused answer, lambda."""
    file: wire.Raw | None = None
    """Sent in the tensors' place, which are prepared if no answer comes."""

    @property
    def sent_channels(self) -> Uint16Array | None:
        """Ascending; None stands for all."""
        if self.answer is None or not self.answer.kept.any():
            return None
        return np.flatnonzero(~self.answer.kept).astype(np.uint16)

    def fused(self, outputs: Arrays) -> Arrays:
        """The network's answer from both sides' answers."""
        if self.answer is None:
            return outputs
        return (fused(self.answer.logits, outputs[0], self.edge_weight),)


@dataclass(frozen=True, slots=True)
class _Half:
    """The edge's side of a split point with attention."""

    runtime: AttentionRuntime
    table: AccuracyTable


class SplitPipeline:
    """Runs one model along routes; not for use from two threads at once.

    Args:
        folder: the model.
        runtime: what runs heads and tails here.
        client: the link to the cloud; None sends every offload back to the edge.
        edge_timer: wrapped around what is computed on this side.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        folder: ModelFolder,
        runtime: SplitRuntime,
        client: CloudClient | None = None,
        edge_timer: EdgeTimer | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._runtime = runtime
        self._client = client
        self._timer = edge_timer or _NoTimer()
        self._clock = clock
        self._codecs = {bits: Codec(bits) for bits in quantisers.all_bits()}
        self._halves = _halves(folder, runtime)
        self._finish_times = FinishTimes(clock)
        self._wire_bytes = {option.route: option.wire_bytes for option in folder.routes}
        self._told: set[int] = set()
        self._numbers = SpecialNumbers()

    def warm_up(self, first_line_s: float = FIRST_LINE_S) -> None:
        """Build every session and learn how long the edge needs to finish alone.

        Args:
            first_line_s: after which its progress is reported, as with engines to be compiled.
        """
        inputs = random_inputs(self._folder)
        options = [o for o in self._folder.routes if o.route.xi in (0.0, 1.0)]
        work = f"{self._folder.name} is loaded"
        with Progress(work, len(options), first_line_s) as progress:
            for option in options:  # between, the same sessions run
                progress.step(option.name)
                head = self._head(option.route, inputs)
                self._finished(option.route, head)  # which builds sessions and tells no time
                self._finish(option.route, head)
        self._runtime.forget_graph()

    @property
    def is_on_processor(self) -> bool:
        """Whether the network runs on this side's processor alone."""
        return self._runtime.is_on_processor

    @property
    def placement(self) -> str:
        """Where the network runs on this side, in words."""
        return self._runtime.placement

    def infer(self, x: Inputs, route: Route, deadline_s: float) -> InferenceResult:
        """Run the network on one input.

        A cloud that is late or gone costs at most the deadline: the edge then finishes from the
        head's tensors, within the deadline if that fits in there at all. It also does where a
        large one of them has no levels, as with NaN or infinity. An answer that holds those is
        taken once the edge itself has given such a one; the first time it finishes and finds out.

        Args:
            x: of an image network (1, 3, H, W), preprocessed; or several inputs; or what makes
                those, which is then part of the request's work. Of a classifier of pictures it may
                have `file`, the JPEG file that it makes them of: where the whole input is sent
                and the file is smaller, the file is, and the server prepares it.
            route: where to cut, and what to send.
            deadline_s: time for the whole inference.

        Raises:
            PartitionError: there is no such split point, or this xi was not trained there.
            WireError: the network takes other inputs.
        """
        point = self._check(route)
        host = HostWork(self._timer.host, self._clock)
        start_s = self._clock()
        head, edge_s = self._begun(x, point, route, host)
        began_s = self._clock()
        if point.is_output or (head.answer is not None and head.answer.kept.all()):
            outputs = head.tensors if head.answer is None else (head.answer.logits,)
            return InferenceResult(outputs, began_s - start_s, edge_s, host_s=host.total_s)
        try:
            codec_s, away_s, reply = self._offload(route, head, host, start_s + deadline_s)
        except (CloudError, WireError) as error:
            if isinstance(error, WireError):
                self._tell(route, error)
            lost_s = self._clock() - began_s
            if head.file is not None:
                head, edge_s = self._computed(x, route, host)
            outputs, finish_s = self._finish(route, head)
            return InferenceResult(
                outputs,
                self._clock() - start_s,
                edge_s + finish_s,
                away_s=lost_s,
                host_s=host.total_s,
                fallback=str(error),
                failure=type(error),
            )
        outputs = head.fused(reply.outputs)
        latency_s = self._clock() - start_s
        return InferenceResult(outputs, latency_s, edge_s, codec_s, away_s, host.total_s, reply)

    def _begun(
        self, x: Inputs, point: SplitPoint, route: Route, host: HostWork
    ) -> tuple[_Head, float]:
        """What is there before anything is sent, and the time that it took to compute."""
        file: bytes = getattr(x, "file", b"")
        takes_files = point.is_input and self._folder.preprocess is not None
        if takes_files and self._client is not None and 0 < len(file) < self._n_bytes(route):
            return _Head((), file=wire.Raw(np.frombuffer(file, np.uint8))), 0.0
        return self._computed(x, route, host)

    def _computed(self, x: Inputs, route: Route, host: HostWork) -> tuple[_Head, float]:
        inputs = self._prepared(x, host)
        ready_s = self._clock()
        with self._timer.edge(route):
            head = self._head(route, inputs)
        return head, self._clock() - ready_s

    def _n_bytes(self, route: Route, head: _Head | None = None) -> int:
        """Of a message."""
        if head is not None and head.file is not None:
            return head.file.array.nbytes
        return self._wire_bytes.get(route, 0)

    def _prepared(self, x: Inputs, host: HostWork) -> Arrays:
        """What the network takes."""
        if callable(x):
            with host.piece():
                x = x()
        return as_inputs(self._folder, x if isinstance(x, tuple) else (x,))

    def _tell(self, route: Route, error: WireError) -> None:
        """Say once that requests of a cut stay here."""
        if route.split not in self._told:
            self._told.add(route.split)
            name = self._folder.split_points[route.split].name
            logger.warning("%s: at %s such requests are finished here", error, name)

    def _check(self, route: Route) -> SplitPoint:
        """The split point of a route that can be run."""
        points = self._folder.split_points
        if not 0 <= route.split < len(points):
            raise PartitionError(
                f"no split point {route.split}: choose one from 0 to {len(points) - 1}"
            )
        point = points[route.split]
        if route.xi == 1.0:
            return point
        if route.split not in self._halves:
            remedy = "run python -m partition.train_attention"
            if point.dtypes != ("float32",):
                types = ", ".join(point.dtypes)
                remedy = f"{types} crosses, and attention needs one tensor of float32"
            raise PartitionError(
                f"split point {point.name!r} of {self._folder.name} has no attention, so xi is 1 "
                f"there, not {route.xi:g}: {remedy}"
            )
        return point

    def _head(self, route: Route, inputs: Arrays) -> _Head:
        point = self._folder.split_points[route.split]
        if route.xi == 1.0:
            return _Head(self._runtime.head(point, inputs))
        half = self._halves[route.split]
        weight = half.table.lookup(point.name, route.xi, route.bits).edge_weight
        tensors = self._runtime.head(point, inputs)
        return _Head(tensors, half.runtime.edge(tensors[0], route.xi), weight)

    def _offload(
        self, route: Route, head: _Head, host: HostWork, due_s: float
    ) -> tuple[float, float, wire.Reply]:
        """Time to encode, time from the packed request to the reply, and what that says."""
        if self._client is None:
            raise CloudUnavailableError("no cloud")
        start_s = self._clock()
        point = self._folder.split_points[route.split]
        # Before it is encoded, which takes most of what a request costs that is not sent.
        n_bytes = self._n_bytes(route, head)
        self._client.check(point, n_bytes, self._patience_s(route, n_bytes, due_s - start_s))
        with host.piece():
            encoded = self._encoded(route, head)
        sent_s, encoding_s = self._clock(), host.total_s
        patience_s = self._patience_s(route, n_bytes, due_s - sent_s)
        reply = self._client.infer(point, encoded, patience_s, host.piece)
        self._numbers.check(reply.outputs)
        away_s = self._clock() - sent_s - (host.total_s - encoding_s)
        return sent_s - start_s, away_s, reply

    def _encoded(self, route: Route, head: _Head) -> tuple[Encoded | wire.Raw, ...]:
        """What crosses; a mask with -inf, for instance, as it is if that is not much.

        Raises:
            WireError: a tensor has no levels and is not small next to the others.
        """
        if head.file is not None:
            return (head.file,)
        codec, channels = self._codecs[route.bits], head.sent_channels
        sent: list[Encoded | wire.Raw] = []
        left_bytes = _MOST_RAW * self._folder.split_points[route.split].request_bytes(route.bits)
        for tensor in head.tensors:
            try:
                sent.append(wire.carried(tensor, codec, channels))
            except WireError:
                left_bytes -= tensor.nbytes
                if channels is not None or left_bytes < 0:
                    raise
                sent.append(wire.Raw(tensor))
        return tuple(sent)

    def _patience_s(self, route: Route, n_bytes: int, left_s: float) -> float:
        """Time to wait for the cloud."""
        finish_s = self._finish_times.expected_s(route, self._timer.fallback_s(route))
        expected_s = math.inf
        if self._client is not None:
            point = self._folder.split_points[route.split]
            expected_s = self._client.expected_s(point, n_bytes)
        return float(offload_rule.patience_s(left_s, finish_s, expected_s))

    def _finish(self, route: Route, head: _Head) -> tuple[Arrays, float]:
        """The edge's own answer and the time it took."""
        modelled_s = self._timer.fallback_s(route)
        start_s = self._clock()
        outputs = self._finished(route, head)
        finish_s = self._clock() - start_s
        self._finish_times.finished(route, finish_s, modelled_s)
        self._numbers.learn(outputs)
        return outputs, finish_s

    def _finished(self, route: Route, head: _Head) -> Arrays:
        with self._timer.fallback(route):
            if head.answer is None:
                return self._runtime.tail(self._folder.split_points[route.split], head.tensors)
            runtime = self._halves[route.split].runtime
            return (runtime.alone(head.tensors[0], head.answer.scores),)


def _halves(folder: ModelFolder, runtime: SplitRuntime) -> dict[int, _Half]:
    """By index of the split point."""
    attention = folder.attention
    if attention is None:
        return {}
    return {
        point.index: _Half(
            AttentionRuntime(folder.path, point, runtime.threads, runtime.execution),
            attention.table,
        )
        for point in folder.split_points
        if point.name in attention.cuts
    }

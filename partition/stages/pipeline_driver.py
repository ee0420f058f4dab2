"""Both ends of a pipeline of stages: frames go in, results come out, each once and in order.

Stages keep nothing that could not be lost. The driver keeps every frame until its
result is there; when anything on the line breaks, a new session is opened, over whatever stages
and replicas there are by then, and the frames without a result are sent again. Replicas overtake
one another: a result that comes early waits for those before it, one that comes twice is dropped.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from partition.errors import PartitionError
from partition.model.folder import ModelFolder
from partition.model.inputs import as_inputs
from partition.model.runtime import Array
from partition.stages.errors import StageError, StageLostError
from partition.stages.frame_receiver import FrameReceiver
from partition.stages.frame_sender import FrameSender
from partition.stages.server import READY_TIMEOUT_S, SessionServer
from partition.stages.session import StageSession, StageSpec
from partition.stages.stage_model import CutCodec

Frame = tuple[Array, ...]
_RETRY_S = 0.2
_CHECK_S = 0.2
_FINISH_TIMEOUT_S = 10.0


@dataclass(slots=True)
class Break:
    """A time that the line stood still, after the first result."""

    reason: str
    began_s: float
    """When it was noticed, by `time.monotonic`."""
    ended_s: float | None = None
    """When the next result was there."""


@dataclass(slots=True)
class _State:
    """What is on the line; guarded by `PipelineDriver._changed`."""

    unanswered: dict[int, bytes] = field(default_factory=dict)
    early: dict[int, Frame] = field(default_factory=dict)
    """Results that wait for those before them."""
    to_send: int = 0
    """Number of the next frame that the session has not sent."""
    taken: int = 0
    """Frames that were taken from the caller."""
    expected: int = 0
    """Number of the next result."""
    consumed: int = 0
    """Results that the caller has."""
    exhausted: bool = False
    """The caller has no more frames."""
    window: int = 1
    """Frames to keep."""
    progress_s: float = field(default_factory=time.monotonic)
    """When the last result came, or later the first frame that waits for one."""

    @property
    def done(self) -> bool:
        """Whether every result is there."""
        return self.exhausted and not self.unanswered


class PipelineDriver:
    """Feeds stages and collects their results; a context manager.

    Args:
        folder: the network.
        route: asked for the stages, in order, before every session; may wait for them. A stage
            without an address is waited for.
        listen: HOST:PORT for the results; port 0 takes a free one.
        codec: how tensors cross: one of `quantisers.codec_names`.
        queue_depth: frames that may wait in front of a stage.
        patience_s: without a result for so long, the line is given up, if it breaks and frames
            are on it.
        stall_s: without a result for so long, a new session is tried.
    """

    def __init__(
        self,
        folder: ModelFolder,
        route: Callable[[], tuple[StageSpec, ...]],
        listen: str = "127.0.0.1:0",
        *,
        codec: str = "none",
        queue_depth: int = 1,
        patience_s: float = 120.0,
        stall_s: float = 30.0,
    ) -> None:
        self._folder = folder.plain
        self._route = route
        self._codec = codec
        self._queue_depth = queue_depth
        self._patience_s = patience_s
        self._stall_s = stall_s
        self._entry = CutCodec(self._folder, 0, codec)
        self._exit = CutCodec(self._folder, len(folder.cuts) - 1, codec)
        self._changed = threading.Condition()
        self._state = _State()
        self._results: queue.SimpleQueue[Frame | StageError | None] = queue.SimpleQueue()
        self._outlet: FrameSender | None = None
        self._renewal: StageLostError | None = None
        """Why the route that was asked for last does not count any longer."""
        self._closing = False
        self._number = 0
        self.breaks: list[Break] = []
        self._sink = SessionServer(listen, self._collect, self.statistics)

    def __enter__(self) -> PipelineDriver:
        """Begin to listen for results."""
        self._sink.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Cut whatever is on the line."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self.renew("the line was closed")
        self._sink.__exit__()

    def statistics(self) -> dict[str, float | int | None]:
        """Number of the session, results so far, and the rate of the link to the first stage."""
        outlet = self._outlet
        return {
            "session": self._number,
            "frames": self._state.expected,
            "rate_bps": outlet.rate_bps if outlet else None,
        }

    def renew(self, reason: str) -> None:
        """Have a new session opened, which asks for the stages again."""
        with self._changed:
            self._renewal = error = StageLostError(reason)
            outlet = self._outlet
        if outlet is not None:
            outlet.cut(error)

    def run(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The network's outputs for each frame, in order; to be called once.

        Frames are taken from the iterable, in another thread, as the line has room for them.

        Args:
            frames: the network's inputs, one sample each.

        Raises:
            StageError: a stage refuses, or there was no result for too long.
        """
        for act in (lambda: self._take(iter(frames)), self._send):
            threading.Thread(target=self._guarded, args=(act,), daemon=True, name="line").start()
        while (result := self._results.get()) is not None:
            if isinstance(result, StageError):
                raise result
            with self._changed:
                self._state.consumed += 1
                self._changed.notify_all()
            yield result

    def _guarded(self, act: Callable[[], None]) -> None:
        """Whatever ends a thread, ends the run."""
        try:
            act()
        except PartitionError as error:
            failure = error if isinstance(error, StageError) else StageError(str(error))
            self._results.put(failure)
        except BaseException as error:
            self._results.put(StageError(f"the line failed: {error!r}"))
            raise

    def _take(self, frames: Iterator[Frame]) -> None:
        """Take frames from the caller while there is room."""
        state = self._state
        while True:
            with self._changed:
                while state.taken - state.consumed >= state.window and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
            frame = next(frames, None)
            message = None
            if frame is not None:
                message = self._entry.pack(as_inputs(self._folder, frame), state.taken)
            with self._changed:
                if message is None:
                    state.exhausted = True
                else:
                    if not state.unanswered:
                        state.progress_s = time.monotonic()
                    state.unanswered[state.taken] = message
                    state.taken += 1
                self._changed.notify_all()
            if message is None:
                return

    def _send(self) -> None:
        """Open sessions until every result is there."""
        while not self._is_done():
            self._renewal = None
            try:
                self._session(self._route())
            except StageLostError as error:
                self._broke(error)
                time.sleep(_RETRY_S)
        self._results.put(None)

    def _is_done(self) -> bool:
        with self._changed:
            return self._state.done

    def _broke(self, error: StageLostError) -> None:
        now_s = time.monotonic()
        with self._changed:
            silent_s = now_s - self._state.progress_s if self._state.unanswered else 0.0
            if self._closing or silent_s > self._patience_s:
                raise StageError(f"{error}; no result for {self._patience_s:g} s") from error
            began = self._state.expected > 0
            if began and (not self.breaks or self.breaks[-1].ended_s is not None):
                self.breaks.append(Break(str(error), now_s))

    def _session(self, hops: tuple[StageSpec, ...]) -> None:
        if not all(hop.addresses for hop in hops):
            raise StageLostError("a stage has no device left")
        # Later than any number of an earlier driver of these stages.
        self._number = max(self._number + 1, time.time_ns())
        session = StageSession(
            number=self._number,
            fingerprint=self._folder.fingerprint,
            codec=self._codec,
            queue_depth=self._queue_depth,
            hops=hops,
            sink=self._sink.address,
        )
        with FrameSender(session) as outlet:
            with self._changed:
                self._outlet = outlet
                renewal = self._renewal
            try:
                if renewal is not None:
                    raise renewal
                outlet.wait_ready(READY_TIMEOUT_S)
                with self._changed:
                    self._state.to_send = self._state.expected
                    self._state.window = session.capacity
                    self._changed.notify_all()
                while (item := self._next(outlet)) is not None:
                    outlet.send(*item, timeout_s=self._stall_s)
                outlet.finish(_FINISH_TIMEOUT_S)
            finally:
                self._outlet = None

    def _next(self, outlet: FrameSender) -> tuple[int, bytes] | None:
        """The next frame to send; None when every result is there."""
        state = self._state
        with self._changed:
            waiting_since_s = time.monotonic()
            while (number := self._unsent()) is None and not state.done:
                outlet.check()
                self._changed.wait(_CHECK_S)
                stalled_s = time.monotonic() - max(waiting_since_s, state.progress_s)
                if state.unanswered and stalled_s > self._stall_s:
                    raise StageLostError(f"no result for {self._stall_s:g} s")
            if number is None:
                return None
            state.to_send = number + 1
            return number, state.unanswered[number]

    def _unsent(self) -> int | None:
        """The first frame without a result that the session has not sent; holds `_changed`."""
        state = self._state
        numbers = range(state.to_send, state.taken)
        return next((number for number in numbers if number in state.unanswered), None)

    def _collect(self, inlet: FrameReceiver) -> None:
        """Take results; runs in a thread of the sink's."""
        session = inlet.session
        if session.hops or session.number != self._number:
            raise StageLostError("results of a session that is over")
        inlet.ready()
        for frame in inlet.frames():
            outputs, number = self._exit.tensors(frame), frame.number
            with self._changed:
                state = self._state
                if number >= state.taken:
                    raise StageLostError(f"result {number} is of a frame that was not sent")
                if state.unanswered.pop(number, None) is None:
                    continue
                state.early[number] = outputs
                state.progress_s = time.monotonic()
                if self.breaks and self.breaks[-1].ended_s is None:
                    self.breaks[-1].ended_s = state.progress_s
                while (result := state.early.pop(state.expected, None)) is not None:
                    state.expected += 1
                    self._results.put(result)
                self._changed.notify_all()

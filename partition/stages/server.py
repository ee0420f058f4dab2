"""Server of a device: waits for sessions and runs the stage that a session asks for."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from partition.errors import PartitionError, WireError
from partition.listener.listener import MESSAGE_TIMEOUT_S, Listener
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime
from partition.providers.execution import Execution
from partition.stages.errors import StageError, StageLostError
from partition.stages.frame_receiver import FrameReceiver
from partition.stages.frame_sender import FrameSender
from partition.stages.session import FRAMES, PROBE, SERVICE, STATISTICS, StageSession
from partition.stages.stage_model import StageModel
from partition.transport import grpc_options, rpc

READY_TIMEOUT_S = 60.0
_FINISH_TIMEOUT_S = 60.0
_TIMED_FRAMES = 32
_FEW_FRAMES = 5
"""Of which one or two, while a network warms up, do not move the median."""
_CALLS = 64
"""At once: while a session is taken over, each sender of a hop may have two."""
_DRAIN_S = 1.0
_MESSAGE_TIMEOUT_S = MESSAGE_TIMEOUT_S + 2.0
"""A probe of the rate takes two seconds at 0.5 Mbit/s."""

Work = Callable[[FrameReceiver], None]
"""Handles a session until its last frame; raises a PartitionError where that fails."""


class SessionServer:
    """Takes sessions, one at a time: a later one ends an earlier one; a context manager.

    Args:
        listen: HOST:PORT; port 0 takes a free one.
        work: handles a session, in a thread of its own.
        statistics: what to answer when asked for statistics.

    Raises:
        CloudError: the address is no address, in use or not permitted.
    """

    def __init__(self, listen: str, work: Work, statistics: Callable[[], dict[str, Any]]) -> None:
        self._work = work
        self._statistics = statistics
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._current: FrameReceiver | None = None
        self._listener = Listener(
            listen,
            SERVICE,
            {
                FRAMES: grpc.stream_stream_rpc_method_handler(self._on_frames),
                STATISTICS: grpc.unary_unary_rpc_method_handler(self._on_statistics),
                PROBE: grpc.unary_unary_rpc_method_handler(lambda *_: b""),
            },
            n_calls=_CALLS,
            message_timeout_s=_MESSAGE_TIMEOUT_S,
            options=grpc_options.STAGE_SERVER,
        )
        host, _ = rpc.parse_address(listen)
        self.address = f"{host}:{self._listener.port}"

    def __enter__(self) -> SessionServer:
        """Begin to listen."""
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the session, if there is one, and stop."""
        with self._guard:
            current = self._current
        if current is not None:
            current.cancel(StageLostError("the stage was stopped"))
        self._listener.stop(_DRAIN_S)

    def _on_frames(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        try:
            session = StageSession.unpack(next(requests))
            yield from self._inlet(session).open(requests).signals()
        except StopIteration:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the stream holds no session")
        except StageLostError as error:
            context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        except PartitionError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    def _inlet(self, session: StageSession) -> FrameReceiver:
        """Where a session's frames go; its first stream ends an earlier session."""
        with self._guard:
            current = self._current
            if current is not None and current.session.number > session.number:
                raise StageLostError("a later session has begun")
            if current is not None and current.session.number == session.number:
                if current.session != session:
                    raise StageError("a session asks one device for two stages")
                return current
            inlet = self._current = FrameReceiver(session)
        if current is not None:
            current.cancel(StageLostError("a later session took over"))
        threading.Thread(target=self._run, args=(inlet,), daemon=True).start()
        return inlet

    def _run(self, inlet: FrameReceiver) -> None:
        with self._turn:  # the earlier one lets its memory go first
            try:
                self._work(inlet)
                inlet.finish()
            except PartitionError as error:
                inlet.finish(error)
            except BaseException as error:
                inlet.finish(StageError(f"the stage failed: {error!r}"))
                raise

    def _on_statistics(self, _: bytes, context: Any) -> bytes:
        return json.dumps(self._statistics()).encode()


class StageServer:
    """Runs whatever stage of a network a session asks for; a context manager.

    Args:
        folder: the network.
        listen: HOST:PORT; port 0 takes a free one.
        threads: per inference.
        execution: where it runs; None takes the best providers that work here.
    """

    def __init__(
        self,
        folder: ModelFolder,
        listen: str,
        threads: int = 1,
        execution: Execution | None = None,
    ) -> None:
        self._folder = folder.plain
        self._runtime = SplitRuntime(self._folder, threads, execution)
        self._busy_s: deque[float] = deque(maxlen=_TIMED_FRAMES)
        self._frames = 0
        self._session: int | None = None
        self._outlet: FrameSender | None = None
        self._piece: tuple[tuple[int, int, str], StageModel] | None = None
        self._server = SessionServer(listen, self._work, self.statistics)
        self.address = self._server.address

    def __enter__(self) -> StageServer:
        """Begin to listen."""
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.__exit__()

    def statistics(self) -> dict[str, Any]:
        """Frames of its stage, median seconds per frame, and the rate of the link to the next.

        Seconds and rate are None until enough frames have passed, the rate also next to replicas.
        All are of the stage that the session of this number asked for; None: of no session.
        """
        outlet = self._outlet
        busy_s = list(self._busy_s)
        return {
            "session": self._session,
            "frames": self._frames,
            "busy_s": statistics.median(busy_s) if len(busy_s) >= _FEW_FRAMES else None,
            "rate_bps": outlet.rate_bps if outlet else None,
        }

    def _work(self, inlet: FrameReceiver) -> None:
        session = inlet.session
        if session.fingerprint != self._folder.fingerprint:
            raise StageError(
                f"this device holds {self._folder.name} {self._folder.fingerprint}, not "
                f"{session.fingerprint}: prepare both from the same model and version"
            )
        if not session.hops:
            raise StageError("a stage was taken for the end of the line")
        # The next ones load their pieces while this one does.
        self._session = None
        with FrameSender(session.behind()) as outlet:
            inlet.on_cancel(outlet.cut)
            self._outlet = outlet
            try:
                piece = self._load(session)
                self._session = session.number
                outlet.wait_ready(READY_TIMEOUT_S)
                inlet.ready()
                self._serve(inlet, piece, outlet)
            finally:
                self._outlet = None

    def _load(self, session: StageSession) -> StageModel:
        """The piece that a session asks for; the last one is kept, others are let go."""
        hop = session.hops[0]
        wanted = (hop.start, hop.end, session.codec)
        if self._piece is None or self._piece[0] != wanted:
            self._piece = None
            self._runtime.release()
            self._busy_s.clear()
            self._frames = 0
            self._piece = wanted, StageModel(self._folder, self._runtime, *wanted)
        return self._piece[1]

    def _serve(self, inlet: FrameReceiver, piece: StageModel, outlet: FrameSender) -> None:
        for frame in inlet.frames():
            begin_s = time.perf_counter()
            try:
                message = piece.run(frame)
            except WireError as error:
                raise StageError(f"frame {frame.number} is broken: {error}") from error
            self._busy_s.append(time.perf_counter() - begin_s)
            self._frames += 1
            outlet.send(frame.number, message)
        outlet.finish(_FINISH_TIMEOUT_S)

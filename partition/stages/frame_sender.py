"""The sending end of a hop."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc

from partition.security.tls import UNENCRYPTED
from partition.stages.errors import StageError, StageLostError
from partition.stages.session import FRAMES, SignalKind, StageSession, method_path, unpack_signal
from partition.transport import grpc_options
from partition.transport.link_estimator import LinkEstimator

_TRANSIENT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNKNOWN,
)

_GROUP = 4
"""Frames of which the second fastest counts: a busy processor reports an arrival late, so that one
frame looks slow and the next one fast. In simulations with such delays a rate a fifth off, by more
than 10 ms a frame, is a third rarer than with the fastest of eight."""


class FrameTimes:
    """Times the frames of a stream, from handing them over to the news of their arrival.

    A frame behind another begins when the other has arrived.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._estimator = LinkEstimator(clock)
        self._guard = threading.Lock()
        self._sent: deque[tuple[int, int, float]] = deque()  # number, bytes, when
        self._group: list[tuple[int, float]] = []  # bytes, seconds
        self._free_s = 0.0

    def sent(self, number: int, n_bytes: int) -> None:
        """A frame was handed over."""
        with self._guard:
            self._sent.append((number, n_bytes, self._clock()))

    def arrived(self, number: int) -> None:
        """A frame has arrived; they do so as they were sent, which is not always by number."""
        with self._guard:
            if self._sent and self._sent[0][0] == number:
                _, n_bytes, sent_s = self._sent.popleft()
                now_s = self._clock()
                self._group.append((n_bytes, now_s - max(sent_s, self._free_s)))
                self._free_s = now_s
                if len(self._group) == _GROUP:
                    self._group.sort(key=lambda frame: frame[1] / frame[0])
                    self._estimator.transferred(*self._group[1])
                    self._group.clear()

    @property
    def rate_bps(self) -> float | None:
        """Of the link, bit/s; None until enough frames have arrived."""
        estimate = self._estimator.estimate()
        return estimate.rate_bps if estimate else None


class OutStream:
    """Sends frames of a session to one receiver.

    Args:
        address: HOST:PORT of the receiver.
        session: as the receiver gets it.
        changed: held while the attributes are read or written, notified when they change.
    """

    def __init__(self, address: str, session: StageSession, changed: threading.Condition) -> None:
        self.address = address
        self.room = session.window
        self.n_under_way = 0
        """Frames that were sent and have not arrived."""
        self.is_ready = False
        self.has_ended = False
        self.error: StageError | None = None
        self.times = FrameTimes()
        self._changed = changed
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._channel = UNENCRYPTED.channel(address, grpc_options.STAGE_CLIENT)
        self._outbox.put(session.pack())
        method = self._channel.stream_stream(method_path(FRAMES))
        self._call = method(iter(self._outbox.get, None))
        threading.Thread(target=self._listen, daemon=True, name="outlet").start()

    def send(self, number: int, message: bytes) -> None:
        """Send a frame that there is room for."""
        self.times.sent(number, len(message))
        self._outbox.put(message)

    def finish(self) -> None:
        """Say that no frame follows."""
        self._outbox.put(None)

    def cut(self, error: StageError) -> None:
        """End the stream now; callers that wait get `error`."""
        with self._changed:
            if not self.has_ended and self.error is None:
                self.error = error
            self._changed.notify_all()
        self._outbox.put(None)
        self._call.cancel()

    def close(self) -> None:
        """Cut the stream, finished or not, and let its connection go."""
        self.cut(StageLostError(f"the stream to {self.address} was closed"))
        self._channel.close()

    def _listen(self) -> None:
        try:
            for message in self._call:
                self._take(*unpack_signal(message))
            self._end(None)
        except grpc.RpcError as error:
            self._end(self._explain(error))
        except StageError as error:
            self._end(error)

    def _take(self, kind: SignalKind, number: int) -> None:
        if kind is SignalKind.ARRIVED:
            self.times.arrived(number)
        with self._changed:
            if kind is SignalKind.ARRIVED:
                self.n_under_way -= 1
            elif kind is SignalKind.READY:
                self.is_ready = True
            else:
                self.room += 1
            self._changed.notify_all()

    def _end(self, error: StageError | None) -> None:
        with self._changed:
            self.error = self.error or error
            self.has_ended = error is None
            self._changed.notify_all()
        self._outbox.put(None)

    def _explain(self, error: Any) -> StageError:
        kind = StageLostError if error.code() in _TRANSIENT else StageError
        details = " ".join(str(error.details()).split())
        # What comes from further down the line names its own address already.
        known = details.startswith("stage ")
        return kind(details if known else f"stage {self.address}: {details}")


class FrameSender:
    """Deals the frames of a session to the receivers; a context manager that ends the streams.

    A frame goes to the receiver with the most room, among equals in turn: replicas that are alike
    get equal shares, and one that falls behind gets fewer.

    Args:
        session: as the receivers get it.
    """

    def __init__(self, session: StageSession) -> None:
        self._session = session
        self._changed = threading.Condition()
        self._last = 0
        self._streams = [
            OutStream(address, session, self._changed) for address in session.addresses
        ]

    def __enter__(self) -> FrameSender:
        """The outlet itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Cut the streams, finished or not."""
        for stream in self._streams:
            stream.close()

    @property
    def rate_bps(self) -> float | None:
        """Measured rate of the link to the receiver; None until enough frames have arrived.

        None, too, next to replicas: frames of several streams that share a cable slow one another
        down, as if the link were slower.
        """
        alone = len(self._streams) == self._session.n_senders == 1
        return self._streams[0].times.rate_bps if alone else None

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until the receivers and all behind them are ready.

        Raises:
            StageLostError: one cannot be reached, or they take too long.
            StageError: one refuses.
        """
        self._wait(lambda: all(stream.is_ready for stream in self._streams), timeout_s)

    def send(self, number: int, message: bytes, timeout_s: float | None = None) -> None:
        """Send a frame as soon as there is room for it.

        Args:
            number: of the frame; the message holds it too.
            message: a packed `wire.Request`.
            timeout_s: to wait for room; None waits as long as the streams are there.

        Raises:
            StageLostError: a stream broke, or there was no room in time.
            StageError: a receiver refuses what it got.
        """
        with self._changed:
            self._wait(self._has_room, timeout_s)
            n = len(self._streams)
            turns = [(self._last + 1 + i) % n for i in range(n)]
            self._last = max(turns, key=lambda turn: self._streams[turn].room)
            stream = self._streams[self._last]
            stream.room -= 1
            stream.n_under_way += 1
        stream.send(number, message)

    def check(self) -> None:
        """Notice a stream that broke.

        Raises:
            StageLostError: one did.
            StageError: a receiver refuses the session.
        """
        self._wait(lambda: True, None)

    def finish(self, timeout_s: float) -> None:
        """Say that no frame follows, and wait until all were worked on.

        Raises:
            StageLostError: a stream broke before, or it takes too long.
            StageError: a receiver refused a frame.
        """
        for stream in self._streams:
            stream.finish()
        self._wait(lambda: all(s.has_ended for s in self._streams), timeout_s, may_end=True)

    def cut(self, error: StageError) -> None:
        """End the streams now; callers that wait get `error`."""
        for stream in self._streams:
            stream.cut(error)

    def _has_room(self) -> bool:
        """Whether a receiver has room, and this end has: its memory is counted for one receiver."""
        n_under_way = sum(stream.n_under_way for stream in self._streams)
        room = any(stream.room > 0 for stream in self._streams)
        return room and n_under_way <= self._session.queue_depth

    def _wait(
        self, condition: Callable[[], bool], timeout_s: float | None, *, may_end: bool = False
    ) -> None:
        due_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while True:
                self._check(may_end=may_end)
                if condition():
                    return
                left_s = None if due_s is None else due_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    receivers = " and ".join(stream.address for stream in self._streams)
                    raise StageLostError(f"{receivers} did not move within {timeout_s:g} s")
                self._changed.wait(left_s)

    def _check(self, *, may_end: bool) -> None:
        """Holds `_changed`."""
        for stream in self._streams:
            if stream.error is not None:
                raise stream.error
            if stream.has_ended and not may_end:
                raise StageLostError(f"{stream.address} ended the stream")

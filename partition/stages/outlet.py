"""The sending end of a hop."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc

from partition.security.tls import ClientSecurity
from partition.stages.errors import StageError, StageLostError
from partition.stages.session import FRAMES, Kind, Session, method_path, unpack_signal
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
"""Frames of which the second fastest counts: a busy processor tells of an arrival late, so that one
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
        """A frame has arrived; they do so in order."""
        with self._guard:
            while self._sent and self._sent[0][0] <= number:
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


class Outlet:
    """Sends the frames of a session to the next one; a context manager that ends the stream.

    Args:
        address: HOST:PORT of the next one.
        session: as the next one gets it.
        security: certificates and token; None encrypts nothing.

    Attributes:
        times: of the frames, and what they say about the link.
    """

    def __init__(
        self, address: str, session: Session, security: ClientSecurity | None = None
    ) -> None:
        self._address = address
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._room = session.window
        self._ready = False
        self._ended = False
        self._error: StageError | None = None
        self.times = FrameTimes()
        security = security or ClientSecurity(insecure=True)
        self._channel = security.channel(address, grpc_options.STAGE_CLIENT)
        self._outbox.put(session.pack())
        method = self._channel.stream_stream(method_path(FRAMES))
        self._call = method(iter(self._outbox.get, None), metadata=security.metadata())
        threading.Thread(target=self._listen, daemon=True, name="outlet").start()

    def __enter__(self) -> Outlet:
        """The outlet itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Cut the stream, finished or not."""
        self.cut(StageLostError(f"the stream to {self._address} was closed"))
        self._channel.close()

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until the next one and all behind it are ready.

        Raises:
            StageLostError: one cannot be reached, or they take too long.
            StageError: one refuses.
        """
        with self._changed:
            self._wait(lambda: self._ready, timeout_s)

    def send(self, number: int, message: bytes, timeout_s: float | None = None) -> None:
        """Send a frame as soon as there is room for it.

        Args:
            number: of the frame; the message holds it too.
            message: a packed `wire.Request`.
            timeout_s: to wait for room; None waits as long as the stream is there.

        Raises:
            StageLostError: the stream broke, or there was no room in time.
            StageError: the next one refuses it.
        """
        with self._changed:
            self._wait(lambda: self._room > 0, timeout_s)
            self._room -= 1
        self.times.sent(number, len(message))
        self._outbox.put(message)

    def check(self) -> None:
        """Notice a stream that broke.

        Raises:
            StageLostError: it did.
            StageError: the next one refuses the session.
        """
        with self._changed:
            self._wait(lambda: not (self._ended or self._error), None)

    def finish(self, timeout_s: float) -> None:
        """Say that no frame follows, and wait until all were worked on.

        Raises:
            StageLostError: the stream broke before, or it takes too long.
            StageError: one refused a frame.
        """
        self._outbox.put(None)
        with self._changed:
            self._wait(lambda: self._ended, timeout_s)

    def cut(self, error: StageError) -> None:
        """End the stream now; whoever waits gets `error`."""
        with self._changed:
            if not self._ended and self._error is None:
                self._error = error
            self._changed.notify_all()
        self._outbox.put(None)
        self._call.cancel()

    def _wait(self, condition: Any, timeout_s: float | None) -> None:
        """Holds `_changed`."""
        due_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not condition():
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StageLostError(f"{self._address} ended the stream")
            left_s = None if due_s is None else due_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise StageLostError(f"{self._address} did not move within {timeout_s:g} s")
            self._changed.wait(left_s)

    def _listen(self) -> None:
        try:
            for message in self._call:
                self._take(*unpack_signal(message))
            self._end(None)
        except grpc.RpcError as error:
            self._end(self._explain(error))
        except StageError as error:
            self._end(error)

    def _take(self, kind: Kind, number: int) -> None:
        if kind is Kind.ARRIVED:
            self.times.arrived(number)
            return
        with self._changed:
            if kind is Kind.READY:
                self._ready = True
            else:
                self._room += 1
            self._changed.notify_all()

    def _end(self, error: StageError | None) -> None:
        with self._changed:
            self._error = self._error or error
            self._ended = error is None
            self._changed.notify_all()
        self._outbox.put(None)

    def _explain(self, error: Any) -> StageError:
        kind = StageLostError if error.code() in _TRANSIENT else StageError
        details = " ".join(str(error.details()).split())
        # What comes from further down the line names its own address already.
        known = details.startswith("stage ")
        return kind(details if known else f"stage {self._address}: {details}")

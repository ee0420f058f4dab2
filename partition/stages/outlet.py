"""The sending end of a hop."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

import grpc

from partition.stages.errors import StageError, StageLostError
from partition.stages.link_meter import LinkMeter
from partition.stages.session import FRAMES, Kind, Session, method_path, unpack_signal
from partition.transport import grpc_options
from partition.transport.tls import ClientSecurity

_TRANSIENT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNKNOWN,
)


class Outlet:
    """Sends the frames of a session to the next one; a context manager that ends the stream.

    Args:
        address: HOST:PORT of the next one.
        session: as the next one gets it.
        security: certificates and token; None encrypts nothing.
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
        self.meter = LinkMeter()
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
        self.meter.sent(number, len(message))
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
            self.meter.arrived(number)
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

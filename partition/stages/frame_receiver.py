"""The receiving end of a hop."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from partition.errors import PartitionError, WireError
from partition.stages.errors import StageError, StageLostError
from partition.stages.session import SignalKind, StageSession, pack_signal
from partition.transport import wire


class InStream:
    """What one sender sends, and the signals that it gets: when there is room for another frame.

    Args:
        window: frames that the sender may have on their way or waiting.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._signals: queue.SimpleQueue[bytes | PartitionError | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._waiting = 0

    def signals(self) -> Iterator[bytes]:
        """What to answer on the stream, until it is finished.

        Raises:
            PartitionError: what the session failed with.
        """
        while (signal := self._signals.get()) is not None:
            if isinstance(signal, PartitionError):
                raise signal
            yield signal

    def ready(self) -> None:
        """Signal the sender to begin."""
        self._signals.put(pack_signal(SignalKind.READY))

    def took(self, number: int) -> None:
        """Acknowledge to the sender that a frame waits no longer."""
        with self._guard:
            self._waiting -= 1
        self._signals.put(pack_signal(SignalKind.ROOM, number))

    def finish(self, error: PartitionError | None) -> None:
        """End the stream, well or not."""
        self._signals.put(error)

    def unpack(self, message: bytes) -> wire.Request:
        """A frame that has arrived.

        Raises:
            WireError: it is none, or there was no room for it.
        """
        frame = wire.unpack_request(message)
        with self._guard:
            self._waiting += 1
            crowded = self._waiting > self._window
        if crowded:
            raise WireError(f"frame {frame.number} was sent although there was no room for it")
        self._signals.put(pack_signal(SignalKind.ARRIVED, frame.number))
        return frame


class FrameReceiver:
    """The frames of one session, as they come from one sender or from several.

    Args:
        session: as it was opened.
    """

    def __init__(self, session: StageSession) -> None:
        self.session = session
        self._frames: queue.SimpleQueue[tuple[InStream, wire.Request | None] | PartitionError] = (
            queue.SimpleQueue()
        )
        self._guard = threading.Lock()
        self._streams: list[InStream] = []
        self._is_ready = False
        self._over: PartitionError | None = None
        self._on_cancel: list[Callable[[StageError], None]] = []
        self._cancelled: StageError | None = None

    def open(self, requests: Iterator[bytes]) -> InStream:
        """Begin to take what a sender sends.

        Args:
            requests: gRPC's iterator over what follows the opening.

        Raises:
            PartitionError: the session is over, or failed with it.
            StageError: every sender of the session has its stream.
        """
        with self._guard:
            if self._cancelled is not None:
                raise self._cancelled
            if self._over is not None:
                raise self._over
            if len(self._streams) == self.session.n_senders:
                raise StageError(f"a session of {self.session.n_senders} senders got another one")
            stream = InStream(self.session.window)
            self._streams.append(stream)
            if self._is_ready:
                stream.ready()
        reader = threading.Thread(
            target=self._read, args=(stream, requests), daemon=True, name="inlet"
        )
        reader.start()
        return stream

    def ready(self) -> None:
        """Signal the senders to begin."""
        with self._guard:
            self._is_ready = True
            for stream in self._streams:
                stream.ready()

    def frames(self) -> Iterator[wire.Request]:
        """Frames as they come, until no sender has more.

        Raises:
            StageError: a stream broke, or holds something else.
        """
        n_ended = 0
        while n_ended < self.session.n_senders:
            item = self._frames.get()
            if isinstance(item, PartitionError):
                raise item
            stream, frame = item
            if frame is None:
                n_ended += 1
                continue
            with self._guard:
                if self._cancelled is not None:
                    raise self._cancelled
            stream.took(frame.number)
            yield frame

    def finish(self, error: PartitionError | None = None) -> None:
        """End all streams, well or not."""
        with self._guard:
            self._over = error or StageLostError("the session is over")
            for stream in self._streams:
                stream.finish(error)

    def on_cancel(self, act: Callable[[StageError], None]) -> None:
        """Have something done when the session is cancelled; at once if it is already."""
        with self._guard:
            self._on_cancel.append(act)
            cancelled = self._cancelled
        if cancelled is not None:
            act(cancelled)

    def cancel(self, error: StageError) -> None:
        """Stop the session from another thread."""
        with self._guard:
            if self._cancelled is not None:
                return
            self._cancelled = error
            acts = list(self._on_cancel)
        for act in acts:
            act(error)
        self._frames.put(error)

    def _read(self, stream: InStream, requests: Iterator[bytes]) -> None:
        try:
            for message in requests:
                self._frames.put((stream, stream.unpack(message)))
            self._frames.put((stream, None))
        except PartitionError as error:
            self._frames.put(error)
        except Exception:  # gRPC raises a bare one when a call is cut
            self.cancel(StageLostError("the sender to this stage is gone"))

"""The receiving end of a hop."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from partition.errors import PartitionError, WireError
from partition.stages.errors import StageError, StageLostError
from partition.stages.session import Kind, Session, pack_signal
from partition.transport import wire


class Inlet:
    """The frames of one session, in order; signals to the sender say when there is room.

    Args:
        session: as it was opened.
        requests: gRPC's iterator over what follows the opening.
    """

    def __init__(self, session: Session, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self._window = session.window
        self._frames: queue.SimpleQueue[wire.Request | PartitionError | None] = queue.SimpleQueue()
        self._signals: queue.SimpleQueue[bytes | PartitionError | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._waiting = 0
        self._on_cancel: list[Callable[[StageError], None]] = []
        self._cancelled: StageError | None = None
        threading.Thread(target=self._read, daemon=True, name="inlet").start()

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
        """Tell the sender to begin."""
        self._signals.put(pack_signal(Kind.READY))

    def frames(self) -> Iterator[wire.Request]:
        """Frames as they come, until the sender has no more.

        Raises:
            StageError: the stream broke, or holds something else.
        """
        while (frame := self._frames.get()) is not None:
            if isinstance(frame, PartitionError):
                raise frame
            with self._guard:
                self._waiting -= 1
                if self._cancelled is not None:
                    raise self._cancelled
            self._signals.put(pack_signal(Kind.ROOM, frame.number))
            yield frame

    def finish(self, error: PartitionError | None = None) -> None:
        """End the stream, well or not."""
        self._signals.put(error)

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

    def _read(self) -> None:
        try:
            for message in self._requests:
                self._frames.put(self._unpack(message))
            self._frames.put(None)
        except PartitionError as error:
            self._frames.put(error)
        except Exception:  # gRPC raises a bare one when a call is cut
            self.cancel(StageLostError("whoever sends to this stage is gone"))

    def _unpack(self, message: bytes) -> wire.Request:
        frame = wire.unpack_request(message)
        with self._guard:
            self._waiting += 1
            crowded = self._waiting > self._window
        if crowded:
            raise WireError(f"frame {frame.number} was sent although there was no room for it")
        self._signals.put(pack_signal(Kind.ARRIVED, frame.number))
        return frame

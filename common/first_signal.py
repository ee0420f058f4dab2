"""The first signal that asks to end, noted and waited for."""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Collection
from contextlib import ExitStack, suppress
from types import FrameType

_WAITED_FOR = (signal.SIGINT, signal.SIGTERM)


class FirstSignal:
    """The first signal that asks to end, between two steps and never within one.

    A handler that sets a `threading.Event` loses signals: Python runs it in the main thread only,
    which nothing wakes if the kernel gave the signal to another thread, and which may hold the very
    lock that the handler asks for. Here the interpreter writes to a socket in whichever thread it
    is (signal.set_wakeup_fd), and the main thread waits for that.

    A context, in the main thread; afterwards the handlers are those of before.

    Attributes:
        number: of the signal, None while none came.
    """

    def __init__(self, numbers: Collection[signal.Signals] = _WAITED_FOR) -> None:
        """Choose the signals.

        Args:
            numbers: those that ask to end.
        """
        self.number: int | None = None
        self._numbers = numbers
        self._restored = ExitStack()

    def __enter__(self) -> FirstSignal:
        """Take the signals over."""
        self._reader, writer = socket.socketpair()
        for end in (self._reader, writer):
            end.setblocking(False)
            self._restored.callback(end.close)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._restored.callback(signal.set_wakeup_fd, before)
        for number in self._numbers:
            self._restored.callback(signal.signal, number, signal.signal(number, self._note))
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        self._restored.close()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has come, so long at most, and say whether it has."""
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self.number is None:
            left_s = None if end_s is None else max(0.0, end_s - time.monotonic())
            if not select.select([self._reader], [], [], left_s)[0]:
                break
            with suppress(BlockingIOError):
                self._reader.recv(4096)  # of another signal, or of this one, noted by now
        return self.number is not None

    def _note(self, number: int, _: FrameType | None) -> None:
        self.number = self.number or number

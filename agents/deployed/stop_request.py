"""Signals that ask a service to end."""

from __future__ import annotations

import signal
from types import FrameType

from common import command


class StopRequest:
    """Turns every signal that asks to end into a wish to stop; a second one does not wait.

    The signal that interrupts is the last one that does, so that nothing interrupts giving the
    board back. `nohup` stays what it is.
    """

    SIGNALS = command.SIGNALS

    def __init__(self) -> None:
        """Take over the signals."""
        self.wanted = False
        self.can_wait = False
        for number in self.SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def ignore(self) -> None:
        """Ignore the signals from now on."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.wanted or not self.can_wait:
            self.ignore()
            raise command.Stopped(number)
        self.wanted = True

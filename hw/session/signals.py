"""Signals: those that end a process give the machine back first, and wait until that is done."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from common import command

logger = logging.getLogger(__name__)

ENDING_SIGNALS = tuple(number for number in command.SIGNALS if number is not signal.SIGINT)
"""Signals that by default end a process without a word; SIGINT raises KeyboardInterrupt anyway."""


def end_on_signals() -> None:
    """Exit, and so give the machine back, on signals that have no handler."""
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may; the journal covers the rest
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, command.leave):
            signal.signal(number, _exit)


@contextmanager
def signals_wait(*, then_deliver: bool = True) -> Iterator[None]:
    """Let signals that may end the process wait for the end of a block.

    Args:
        then_deliver: whether the first one is delivered then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread and interrupt nothing here
        return
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if not came:
            logger.warning("giving the machine back first; this takes a moment")
        came.append(number)

    handlers = {
        number: handler
        for number in (signal.SIGINT, *ENDING_SIGNALS)
        if (handler := signal.getsignal(number)) not in (None, signal.SIG_IGN)
    }
    try:
        for number in handlers:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came and then_deliver:
            signal.raise_signal(came[0])


def _exit(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(command.SIGNAL_EXIT_CODE + number)

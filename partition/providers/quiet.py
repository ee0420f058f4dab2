"""Standard output kept for what a command has to say."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_lock = threading.Lock()
_STDOUT, _STDERR = 1, 2


class _Redirection:
    """Descriptor of the standard output while it leads elsewhere, and how many want that."""

    saved_fd: int | None = None
    users = 0


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to the standard error what anything in this process writes to the standard output.

    Libraries of GPUs print from C, past Python's `sys.stdout`, and a line of theirs among lines of
    JSON makes them none. May be nested and used from several threads: the first diverts, the last
    gives back.
    """
    with _lock:
        _Redirection.users += 1
        if _Redirection.users == 1:
            _divert()
    try:
        yield
    finally:
        with _lock:
            _Redirection.users -= 1
            if _Redirection.users == 0:
                _give_back()


def _divert() -> None:
    _flush()
    with suppress(OSError):  # a daemon without a standard output has none to keep clean
        _Redirection.saved_fd = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)


def _give_back() -> None:
    _flush()  # what C or Python still hold belongs to those who wrote it
    if _Redirection.saved_fd is not None:
        os.dup2(_Redirection.saved_fd, _STDOUT)
        os.close(_Redirection.saved_fd)
        _Redirection.saved_fd = None


def _flush() -> None:
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)

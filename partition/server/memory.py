"""Memory of a server between requests: kept while it is busy, given back when it is not (glibc)."""

from __future__ import annotations

import ctypes
import threading
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 256 * 2**20
_MAX_MMAP_THRESHOLD_BYTES = 32 * 2**20
_EVERY_S = 30.0
"""Giving back takes some 10 ms, and page faults of the requests after it as much once more."""


def keep_memory() -> None:
    """Let malloc keep what was freed: page faults would cost 0.1 ms per request."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _MAX_MMAP_THRESHOLD_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back_memory() -> None:
    """Give back what nobody uses: after large batches that may be more than all tails hold."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class MemoryReturn:
    """Gives back at the start and every `_EVERY_S` from then on.

    Args:
        every_s: in between.
    """

    def __init__(self, every_s: float = _EVERY_S) -> None:
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory return", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop; may be called without a start."""
        self._over.set()

    def _run(self) -> None:
        give_back_memory()
        while not self._over.wait(self._every_s):
            give_back_memory()

"""Work of the processor beside the network, for one request: pictures, codec, messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager


class HostWork:
    """Wraps such work and adds up the time that it takes.

    Args:
        around: wrapped around each piece, for instance to slow it down to a board's clock.
        clock: monotonic seconds.

    Attributes:
        total_s: time of all pieces so far.
    """

    def __init__(
        self, around: Callable[[], AbstractContextManager[object]], clock: Callable[[], float]
    ) -> None:
        self._around, self._clock = around, clock
        self.total_s = 0.0

    @contextmanager
    def piece(self) -> Iterator[None]:
        """Do a piece, the body."""
        start_s = self._clock()
        try:
            with self._around():
                yield
        finally:
            self.total_s += self._clock() - start_s

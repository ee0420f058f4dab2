"""Room for the bodies of requests, so that many connections together take bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from partition.errors import ServerBusyError


class BodyRoom:
    """Bytes that bodies take at the same time; safe to use from several threads.

    Args:
        max_bytes: of all together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._guard = threading.Lock()
        self._left_bytes = max_bytes

    @contextmanager
    def taken(self, n_bytes: int) -> Iterator[None]:
        """Within, a body of that length may be read and held.

        Raises:
            ServerBusyError: others leave no room for it.
        """
        with self._guard:
            if n_bytes > self._left_bytes:
                raise ServerBusyError("the requests of others take all the room there is")
            self._left_bytes -= n_bytes
        try:
            yield
        finally:
            with self._guard:
                self._left_bytes += n_bytes

"""Going on without what cannot be read, and naming it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hw.errors import HardwareError


@contextmanager
def leaving_out(unread: list[str]) -> Iterator[None]:
    """Leave out what fails inside, and add what went wrong in words, each once."""
    try:
        yield
    except HardwareError as error:
        if str(error) not in unread:
            unread.append(str(error))

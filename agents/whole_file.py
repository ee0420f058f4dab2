"""Atomic writes: files that a killed process or a full disk leaves whole or as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[BufferedWriter]:
    """A stream whose content takes the place of a file once the block has ended.

    Raises:
        OSError: it cannot be written; nothing is left of it then.
    """
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise

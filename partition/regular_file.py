"""Opening of files that somebody else made: a pipe would block the reader, a device never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

Stamp = tuple[int, ...]
"""Device, inode, size and time of a file: another one, or one that was written to, differs."""


def open_regular(path: Path) -> BinaryIO:
    """A file to read, and nothing else that a path may name.

    Raises:
        OSError: it cannot be read, or is a folder, a pipe, a socket or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return os.fdopen(descriptor, "rb")


def stamp_of(file: BinaryIO) -> Stamp:
    """What changes with a file's content, of one that is open."""
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

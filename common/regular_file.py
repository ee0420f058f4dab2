"""Opening of files that somebody else made: a pipe would block the reader, a device never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

Stamp = tuple[int, ...]
"""Device, inode, size and time of a file: another one, or one that was written to, differs."""


class IrregularFileError(OSError):
    """A path names a folder, a pipe, a socket or a device."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "it is no regular file")

    def __str__(self) -> str:
        """Without the number, which tells nothing."""
        return str(self.strerror)


def open_regular(path: Path) -> BinaryIO:
    """A file to read, and nothing else that a path may name.

    Raises:
        OSError: it cannot be read.
        IrregularFileError: it is none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IrregularFileError
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path) -> bytes:
    """What a file holds.

    Raises:
        OSError: as in `open_regular`.
    """
    with open_regular(path) as file:
        return file.read()


def read_text(path: Path) -> str:
    """What a file of UTF-8 holds, its lines ended in any way.

    Raises:
        OSError: as in `open_regular`.
        UnicodeDecodeError: it is no UTF-8.
    """
    text = read_bytes(path).decode()
    return text.replace("\r\n", "\n").replace("\r", "\n")


def stamp_of(file: BinaryIO) -> Stamp:
    """What changes with a file's content, of one that is open."""
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

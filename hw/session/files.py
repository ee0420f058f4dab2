"""Safe opening of files in a folder that others may write: no links, no files of other users."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from hw.errors import JournalError

_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Without waiting: a pipe may have been put there."""
_TRIES, _LOOK_AGAIN_S = 3, 0.02


def open_own(path: Path, flags: int, mode: int = 0, *, owned: bool = False) -> int:
    """Open a plain file.

    Args:
        path: of the file.
        flags: of `os.open`.
        mode: rights of the file where it is ours, whatever the umask says; 0 leaves them.
        owned: whether root takes a file of root only.

    Raises:
        JournalError: it is a link, no plain file, or another user's; says how to get rid of it.
        OSError: it cannot be opened.
    """
    if path.is_symlink():
        raise JournalError(f"{path} is a link and is not followed; remove it: sudo rm {path}")
    descriptor = os.open(path, flags | _SAFE, mode)
    try:
        found = os.fstat(descriptor)
        if not _is_alone(path, found):
            raise JournalError(f"{path} is no plain file of its own; remove it: sudo rm {path}")
        me = os.geteuid()
        if owned and me == 0 and found.st_uid != 0:
            raise JournalError(
                f"{path} belongs to user {found.st_uid}, and root does not do what others have "
                f"written; let that user run python -m hw.restore, or remove it: sudo rm {path}"
            )
        if mode and found.st_uid == me and stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_alone(path: Path, found: os.stat_result) -> bool:
    """Whether an open file is a plain one under this name and no other.

    It is looked at by its name once more, for a second name may go while the file is opened.
    """
    try:
        named = os.lstat(path)
    except FileNotFoundError:
        return False
    is_same = (named.st_dev, named.st_ino) == (found.st_dev, found.st_ino)
    return is_same and stat.S_ISREG(named.st_mode) and max(found.st_nlink, named.st_nlink) == 1


def lock_alone(descriptor: int) -> None:
    """Take a file's lock; a look at who has it (the doctor's) is over in a moment.

    Raises:
        BlockingIOError: another process has it.
        OSError: this file system has no locks.
    """
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(_LOOK_AGAIN_S)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def read_own(path: Path) -> bytes:
    """Read a plain file, as root of root only.

    Raises:
        JournalError: as `open_own`.
        OSError: it cannot be read.
    """
    with os.fdopen(open_own(path, os.O_RDONLY, owned=True), "rb") as file:
        return file.read()


def is_foreign_of_earlier(path: Path, began_s: float) -> bool:
    """Whether a file is not root's, who asks, and was last written before a time, s since 1970."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    is_plain = stat.S_ISREG(found.st_mode)
    return is_plain and os.geteuid() == 0 != found.st_uid and found.st_mtime < began_s


def replace(path: Path, data: bytes, mode: int) -> None:
    """Replace a file, on disk and as a whole.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.replace(new, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

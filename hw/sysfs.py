"""The only module that opens kernel files; failures become errors with path, value and remedy."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from common.regular_file import read_text
from hw.devtmpfs import open_devtmpfs
from hw.errors import (
    FrequencyRejectedError,
    HardwareError,
    PermissionDeniedError,
    SensorReadError,
    UnsupportedError,
)

COMMANDS = "commands"
"""Folder of a recorded tree that holds what commands printed."""
MOST_OPEN = 512
"""Half of what a process may usually hold open; a server with many cores has more files."""
_READ_BYTES = 65536
_COMMAND_TIMEOUT_S = 5.0
_ROOT_REMEDY = "run as root, or give your group access by a udev rule (docs/permissions.md)"
READ_ONLY = (
    "is mounted read-only, as in most containers; give the container the real one (docker run "
    "-v /sys:/sys, or --privileged), or on the machine itself: sudo mount -o remount,rw /sys"
)
DEBUGFS = "sys/kernel/debug/"
_STALE = (errno.ENODEV, errno.ESTALE, errno.ENOENT)


class Sysfs:
    """Text files of the kernel under a root folder.

    Files of /sys stay open between accesses, which costs a tenth of opening them each time.

    Args:
        root: the folder that holds `sys` and `proc`; "/" on a real machine.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root = root.resolve()  # as `real_path` names files
        self._kept_open = f"{root / 'sys'}/"
        # A recorded tree may come from anybody, and hold a pipe that would keep its reader waiting.
        self._flags = os.O_CLOEXEC | (0 if self.is_live else os.O_NONBLOCK)
        self._readers: dict[Path, int] = {}
        self._writers: dict[Path, int] = {}

    @property
    def is_live(self) -> bool:
        """Whether this is a running kernel, not a recorded tree."""
        return self.root == Path("/")

    def path(self, relative: str) -> Path:
        """The path of a file named from the root, without a slash in front."""
        return self.root / relative

    def glob(self, pattern: str) -> list[Path]:
        """Paths that match a pattern relative to the root, in the order of their numbers."""
        return sorted(self.root.glob(pattern), key=lambda path: (len(path.name), path.name))

    def exists(self, path: Path) -> bool:
        """Whether there is such a file, as far as this user can see."""
        try:
            return path.exists()
        except OSError:  # a folder on the way is closed to this user (debugfs)
            return False

    def is_writable(self, path: Path) -> bool:
        """Whether this user may write a file."""
        return os.access(path, os.W_OK, effective_ids=True)

    def read_only(self, path: Path) -> str | None:
        """What to do where a file lies on a file system that is mounted read-only; None if not."""
        try:
            flags = os.statvfs(path).f_flag
        except OSError:
            return None
        return f"{path} {READ_ONLY}" if flags & os.ST_RDONLY else None

    def real_path(self, path: Path) -> Path:
        """The path with all links followed; where a class entry's device really is."""
        return path.resolve()

    def read_text(self, path: Path) -> str:
        """Read a file without the line end.

        Raises:
            UnsupportedError: no such file.
            PermissionDeniedError: not readable for this user.
            SensorReadError: the kernel has no value now.
        """
        try:
            return self._read(path).strip().rstrip("\0")  # device tree texts end with a zero
        except (OSError, UnicodeDecodeError) as error:
            raise _read_error(path, error) from None

    def read_int(self, path: Path) -> int:
        """Read a whole number.

        Raises:
            SensorReadError: the file holds something else; and all that `read_text` raises.
        """
        text = self.read_text(path)
        try:
            return int(text)
        except ValueError:
            raise SensorReadError(
                f"{path} holds {text!r}, not one whole number; check its driver"
            ) from None

    def read_ints(self, path: Path) -> list[int]:
        """Read whole numbers between blanks.

        Raises:
            SensorReadError: the file holds something else; and all that `read_text` raises.
        """
        text = self.read_text(path)
        try:
            return [int(word) for word in text.split()]
        except ValueError:
            raise SensorReadError(
                f"{path} holds {text!r}, not whole numbers; check its driver"
            ) from None

    def write_text(self, path: Path, value: str) -> None:
        """Write a file.

        Raises:
            UnsupportedError: no such file.
            PermissionDeniedError: not writable for this user.
            FrequencyRejectedError: the kernel refused the value.
        """
        try:
            self._write(path, value)
        except OSError as error:
            raise _write_error(path, value, error) from None

    def open_folder(self, path: Path) -> int:
        """Open a folder to lock it; the caller closes it.

        Raises:
            OSError: there is none.
        """
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def open_devtmpfs(self) -> int:
        """Open the root of the kernel's devtmpfs to lock it; the caller closes it.

        Raises:
            OSError: it cannot be reached, or this is a recorded tree.
        """
        if not self.is_live:
            raise FileNotFoundError(errno.ENOENT, "a recorded tree has none", "devtmpfs")
        return open_devtmpfs()

    def boot_time_s(self) -> float:
        """When this kernel started by the wall clock, s since 1970, as `btime` of /proc/stat."""
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def run(self, command: Sequence[str]) -> str:
        """Run a command of the board's maker and return what it prints.

        In a recorded tree, what it printed when the tree was recorded.

        Raises:
            UnsupportedError: no such command.
            SensorReadError: it failed, printed no text, or took longer than five seconds.
        """
        if not self.is_live:
            return self.read_text(self.path(f"{COMMANDS}/{' '.join(command)}"))
        try:
            return subprocess.run(
                command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=True
            ).stdout.strip()
        except FileNotFoundError:
            raise UnsupportedError(f"there is no command {command[0]!r} on this machine") from None
        except (OSError, UnicodeDecodeError, subprocess.SubprocessError) as error:
            raise SensorReadError(
                f"{' '.join(command)!r} failed: {error}; try it by hand"
            ) from None

    def close(self) -> None:
        """Close all files; they open again when used."""
        for handles in (self._readers, self._writers):
            while handles:
                os.close(handles.popitem()[1])

    def __del__(self) -> None:
        """Leave no file open."""
        self.close()

    def _read(self, path: Path) -> str:
        try:
            return self._pread(path)
        except OSError as error:
            if path not in self._readers or error.errno not in _STALE:
                raise
            # The node went away and may have come back (hotplug); look again.
            os.close(self._readers.pop(path))
            return self._pread(path)

    def _pread(self, path: Path) -> str:
        descriptor = self._readers.get(path)
        if descriptor is None:
            if not str(path).startswith(self._kept_open) or len(self._readers) >= MOST_OPEN:
                # Replaced as a whole, or gone soon.
                return path.read_text(encoding="utf-8") if self.is_live else read_text(path)
            descriptor = self._readers[path] = os.open(path, os.O_RDONLY | self._flags)
        return os.pread(descriptor, _READ_BYTES, 0).decode()

    def _write(self, path: Path, value: str) -> None:
        try:
            self._pwrite(path, value)
        except OSError as error:
            if path not in self._writers or error.errno not in _STALE:
                raise
            os.close(self._writers.pop(path))
            self._pwrite(path, value)

    def _pwrite(self, path: Path, value: str) -> None:
        # Never created: a missing attribute must stay missing. And one write call per value.
        descriptor = self._writers.get(path)
        if descriptor is None:
            descriptor = self._writers[path] = os.open(path, os.O_WRONLY | self._flags)
        if not self.is_live:
            os.ftruncate(descriptor, 0)  # a recorded file is a plain one
        os.pwrite(descriptor, value.encode(), 0)


def _read_error(path: Path, error: OSError | UnicodeDecodeError) -> HardwareError:
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.ENOENT, errno.ENODEV, errno.ENOTDIR):
        return UnsupportedError(f"{path} does not exist; this kernel or board lacks it")
    if code == errno.EPERM and DEBUGFS in str(path):
        return PermissionDeniedError(
            f"{path} is closed even to root; the kernel is locked down (see "
            "/sys/kernel/security/lockdown), so that this clock cannot be driven"
        )
    if code in (errno.EACCES, errno.EPERM):
        return PermissionDeniedError(f"{path} cannot be read; {_ROOT_REMEDY}")
    if code == errno.ENODATA:
        return SensorReadError(f"{path} has no data; enable its channel")
    return SensorReadError(f"{path} cannot be read: {error}; check its driver")


_OF_FREQUENCIES = ("freq", "rate", "setspeed")
"""Parts of the names of files that hold a clock."""


def _write_error(path: Path, value: str, error: OSError) -> HardwareError:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENOTDIR):
        return UnsupportedError(
            f"{path} does not exist, {value!r} was not written; this kernel or board lacks it"
        )
    if error.errno == errno.EROFS:
        return PermissionDeniedError(
            f"{path} was not set to {value!r}: its file system {READ_ONLY}"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionDeniedError(f"{path} cannot be set to {value!r}; {_ROOT_REMEDY}")
    if error.errno == errno.EBUSY:
        return FrequencyRejectedError(
            f"{path} is busy and was not set to {value!r}; stop the program that controls it"
        )
    if error.errno == errno.EINVAL:
        remedy = "check which values its driver takes"
        if any(word in path.name for word in _OF_FREQUENCIES):
            remedy = "use an operating point between its present limits"
        return FrequencyRejectedError(f"{path} refused {value!r}; {remedy}")
    return FrequencyRejectedError(f"{path} cannot be set to {value!r}: {error}; check its driver")

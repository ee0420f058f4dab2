"""The only module that opens kernel files; failures become errors with path, value and remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from hw.errors import (
    FrequencyRejectedError,
    HardwareError,
    PermissionDeniedError,
    SensorReadError,
    UnsupportedError,
)

_ROOT_REMEDY = "run as root, or give your group access by a udev rule"


class Sysfs:
    """Text files of the kernel under a root folder.

    Args:
        root: the folder that holds `sys`; "/" on a real machine.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def glob(self, pattern: str) -> list[Path]:
        """Paths that match a pattern relative to the root, in the order of their numbers."""
        return sorted(self.root.glob(pattern), key=lambda path: (len(path.name), path.name))

    def exists(self, path: Path) -> bool:
        """Whether there is such a file."""
        return path.exists()

    def read_text(self, path: Path) -> str:
        """Read a file without the line end.

        Raises:
            UnsupportedError: no such file.
            PermissionDeniedError: not readable for this user.
            SensorReadError: the kernel has no value now.
        """
        try:
            return self._read(path).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise _read_error(path, error) from None

    def read_int(self, path: Path) -> int:
        """Read a whole number.

        Raises:
            SensorReadError: the file holds something else; and all that `read_text` raises.
        """
        numbers = self.read_ints(path)
        if len(numbers) != 1:
            raise SensorReadError(f"{path} holds {len(numbers)} numbers, not one; check its driver")
        return numbers[0]

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

    def _read(self, path: Path) -> str:
        return path.read_text(encoding="utf-8")

    def _write(self, path: Path, value: str) -> None:
        # Not created, for a missing attribute must stay missing; and one write call per value.
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)


def _read_error(path: Path, error: OSError | UnicodeDecodeError) -> HardwareError:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.ENOENT:
        return UnsupportedError(f"{path} does not exist; this kernel or board lacks it")
    if code in (errno.EACCES, errno.EPERM):
        return PermissionDeniedError(f"{path} cannot be read; {_ROOT_REMEDY}")
    if code == errno.ENODATA:
        return SensorReadError(f"{path} has no data; enable its channel")
    return SensorReadError(f"{path} cannot be read: {error}; check its driver")


def _write_error(path: Path, value: str, error: OSError) -> HardwareError:
    if error.errno == errno.ENOENT:
        return UnsupportedError(
            f"{path} does not exist, {value!r} was not written; this kernel or board lacks it"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionDeniedError(f"{path} cannot be set to {value!r}; {_ROOT_REMEDY}")
    if error.errno == errno.EBUSY:
        return FrequencyRejectedError(
            f"{path} is busy and was not set to {value!r}; stop the program that controls it"
        )
    if error.errno == errno.EINVAL:
        return FrequencyRejectedError(
            f"{path} refused {value!r}; use an operating point between its present limits"
        )
    return FrequencyRejectedError(f"{path} cannot be set to {value!r}: {error}; check its driver")

"""One process per machine, whatever folders, containers and namespaces they have.

The journal's folder differs between containers, what /sys shows does not: a lock on its folder of
processors holds between all who see the same sysfs. A container with a network of its own has a
sysfs of its own (the same settings behind other inodes), so that there is a second lock on the root
of devtmpfs, which a kernel has once.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress

from hw.errors import BusyError, HardwareError
from hw.session.files import lock_alone
from hw.sysfs import Sysfs

logger = logging.getLogger(__name__)

PROCESSORS = "sys/devices/system/cpu"
_LOCKS = "proc/locks"


class MachineLock:
    """The lock of one machine.

    Args:
        sysfs: access to the kernel's files.
    """

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self._held: list[int] = []

    def take(self) -> None:
        """Take it, as far as this user and this kernel offer it; it ends with the process.

        Raises:
            BusyError: another process has it; names it where it is in sight.
        """
        reason = "neither the processors' folder nor devtmpfs can be opened"
        for descriptor in self._open_all():
            try:
                lock_alone(descriptor)
            except BlockingIOError:
                holder = self._name_of_holder(descriptor)
                os.close(descriptor)
                self.release()
                raise BusyError(
                    f"this machine is driven by {holder}, with another journal; stop that first"
                ) from None
            except OSError as error:  # this one has no locks; the other may
                reason = str(error)
                os.close(descriptor)
            else:
                self._held.append(descriptor)
        if not self._held:
            logger.warning(
                "drivers with another journal, as in other containers, are not noticed: %s; "
                "start no second one",
                reason,
            )

    def release(self) -> None:
        """Give it up, at once, though a child may have a copy."""
        for descriptor in self._held:
            with suppress(OSError):  # it was never had
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        self.let_go()

    def let_go(self) -> None:
        """Close a forked child's copies; the lock stays its parent's."""
        while self._held:
            os.close(self._held.pop())

    def holder(self) -> str | None:
        """The process that has it, in words; None if it is free."""
        for descriptor in self._open_all():
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return self._name_of_holder(descriptor)
            except OSError:
                continue
            finally:
                os.close(descriptor)
        return None

    def _open_all(self) -> Iterator[int]:
        openers: list[Callable[[], int]] = [
            lambda: self._sysfs.open_folder(self._sysfs.path(PROCESSORS)),
            self._sysfs.open_devtmpfs,
        ]
        for opener in openers:
            try:
                yield opener()
            except OSError:  # a tree without it, an old kernel, or no right to mount
                continue

    def _name_of_holder(self, descriptor: int) -> str:
        """The process, where this one's /proc shows it."""
        found = os.fstat(descriptor)
        device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
        wanted = f"{device}:{found.st_ino}"
        try:
            lines = self._sysfs.read_text(self._sysfs.path(_LOCKS)).splitlines()
        except HardwareError:
            lines = []
        for words in map(str.split, lines):
            if "FLOCK" in words and words[-3] == wanted and words[-4] not in ("0", "-1"):
                return f"process {words[-4]}"
        return "a process that is not in sight from here (another container)"

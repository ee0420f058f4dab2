"""The journal: what a machine was like before it was changed, on disk before the change.

One line of JSON per setting, appended and synced before its first write, so that a killed process
or a full disk never leaves a change that nobody can undo. A lock beside it lets one process at a
time drive the machine. The kernel forgets its settings when it boots, so a journal of an earlier
boot has nothing to restore.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hw.errors import BusyError, HardwareError, JournalError, PermissionDeniedError
from hw.session.settings import Value
from hw.sysfs import Sysfs

STATE_DIR = "var/lib/dvfo"
BOOT_ID = "proc/sys/kernel/random/boot_id"
_JOURNAL = "journal.jsonl"
_DAMAGED = "journal.damaged.jsonl"
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Entry:
    """One saved setting.

    Attributes:
        setting: description of the setting, see `hw.session.factory`.
        saved: what to put back.
        power_mode: nvpmodel's mode at that time, None where there is no nvpmodel.
    """

    setting: dict[str, str]
    saved: Value
    power_mode: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What a journal holds.

    Attributes:
        entries: what is to be restored, in the order of the first change.
        damaged: lines that cannot be understood, in words.
    """

    entries: list[Entry]
    damaged: list[str]


class Journal:
    """Journal and lock of one machine, in a folder.

    Args:
        folder: where they are; made if missing.
        boot_id: of the running kernel.
    """

    def __init__(self, folder: Path, boot_id: str) -> None:
        self.folder = folder
        self.path = folder / _JOURNAL
        self._boot_id = boot_id
        self._lock: int | None = None
        self._file: int | None = None

    @classmethod
    def of_machine(cls, sysfs: Sysfs, folder: Path | None = None) -> Journal:
        """The journal of the machine under a root, in /var/lib/dvfo unless told otherwise."""
        try:
            boot_id = sysfs.read_text(sysfs.path(BOOT_ID))
        except HardwareError:  # a recorded tree
            boot_id = "recorded"
        return cls(folder or sysfs.path(STATE_DIR), boot_id)

    def lock(self) -> None:
        """Become the one process that drives the machine; the lock ends with the process.

        Raises:
            BusyError: another one does; names it.
            PermissionDeniedError: this user may not write the folder.
            JournalError: the folder cannot be used.
        """
        with self._explained():
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _name_in(lock)
            os.close(lock)
            raise BusyError(f"this machine is driven by {holder}; stop that first") from None
        with self._explained():
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"process {os.getpid()} ({' '.join(sys.argv[:2])})".encode(), 0)
        self._lock = lock

    def holder(self) -> str | None:
        """Who drives the machine now, in words; None if nobody does, or if it cannot be told."""
        try:
            lock = os.open(self.folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _name_in(lock)
        finally:
            os.close(lock)
        return None

    def unlock(self) -> None:
        """Let others drive the machine."""
        for descriptor in (self._file, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._lock = None

    def append(self, entry: Entry) -> None:
        """Save a setting; on disk when this returns.

        Raises:
            JournalError: it could not be saved, so the setting must not be changed.
        """
        line = {"boot_id": self._boot_id, **asdict(entry)}
        with self._explained():
            if self._file is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._file = os.open(self.path, flags, 0o660)
                self._sync_folder()
            length = os.fstat(self._file).st_size
            try:
                _write_all(self._file, json.dumps(line).encode() + b"\n")
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, length)
                raise

    def read(self) -> Content:
        """What is to be restored; nothing after a reboot.

        A setting that was saved twice counts with its last value at its first place. The end of a
        line that was cut short was never followed by a write and is left out.

        Raises:
            JournalError: the file cannot be read.
        """
        try:
            lines = self.path.read_bytes().decode(errors="replace").split("\n")[:-1]
        except FileNotFoundError:
            return Content([], [])
        except OSError as error:
            raise self._error(error) from None
        entries: dict[str, Entry] = {}
        damaged = []
        for number, line in enumerate(lines, start=1):
            try:
                document = json.loads(line)
                boot_id = document.pop("boot_id")
                entry = Entry(**document)
                if boot_id == self._boot_id:
                    entries[json.dumps(entry.setting, sort_keys=True)] = entry
            except (ValueError, KeyError, TypeError, AttributeError):
                damaged.append(f"line {number} of {self.path}, {line[:80]!r}, is damaged")
        return Content(list(entries.values()), damaged)

    def clear(self) -> None:
        """Forget everything, after it has been restored."""
        with self._explained():
            self.path.unlink(missing_ok=True)
            if self._file is not None:
                os.close(self._file)
                self._file = None
            self._sync_folder()

    def set_aside(self) -> Path:
        """Keep a damaged journal under another name, so that it does not block for ever."""
        aside = self.folder / _DAMAGED
        with self._explained():
            os.replace(self.path, aside)
        return aside

    def _sync_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the system's errors into ours."""
        try:
            yield
        except OSError as error:
            raise self._error(error) from None

    def _error(self, error: OSError) -> HardwareError:
        if isinstance(error, PermissionError):
            return PermissionDeniedError(
                f"{error.filename or self.folder} cannot be written; run as root, or give your "
                f"group the folder: sudo install -d -m 2770 -g GROUP {self.folder}"
            )
        return JournalError(
            f"journal {self.path} cannot be used: {error}; without it no clock is changed, so make "
            "room or repair the folder"
        )


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _name_in(lock: int) -> str:
    return os.pread(lock, 4096, 0).decode(errors="replace").strip() or "another process"

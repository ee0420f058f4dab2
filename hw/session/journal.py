"""The journal: the state of a machine before it was changed, on disk before the change.

One line of JSON per setting, appended and synced before its first write, so that a killed process
or a full disk never leaves a change that cannot be undone. A lock next to it and one on the machine
itself, let one process at a time drive it. The kernel forgets its settings when it boots, so a
journal of an earlier boot has nothing to restore. The folder may be shared by a group: nothing in
it is trusted to be what it was.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hw.errors import BusyError, HardwareError, JournalError, PermissionDeniedError
from hw.session.boot import SAME_BOOT_S, Boot
from hw.session.files import (
    is_foreign_of_earlier,
    lock_alone,
    open_own,
    read_own,
    replace,
    sync_folder,
)
from hw.session.machine_lock import MachineLock
from hw.settings.settings import Value
from hw.sysfs import Sysfs

logger = logging.getLogger(__name__)

STATE_DIR = "var/lib/dvfo"
MOUNTS = "proc/self/mountinfo"
_JOURNAL = "journal.jsonl"
_DAMAGED = "journal.damaged.jsonl"
_FOREIGN = "journal.foreign.jsonl"
_LOCK = "lock"
_JOURNAL_MODE, _LOCK_MODE = 0o640, 0o660
"""A group shares the lock, whatever umask root has, and may read what root would put back."""
_MOUNT_WORDS, _MOUNT_POINT = 5, 4
"""Of a line of mountinfo, see proc_pid_mountinfo(5)."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True, slots=True)
class JournalEntry:
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

    entries: list[JournalEntry]
    damaged: list[str]


class Journal:
    """Journal and lock of one machine, in a folder.

    Args:
        folder: where they are; made if missing.
        boot: of the running kernel.
        machine: lock of the machine, which other folders share.
    """

    def __init__(self, folder: Path, boot: Boot, machine: MachineLock) -> None:
        self.folder = folder
        self.path = folder / _JOURNAL
        self._boot = boot
        self._machine = machine
        self._lock: int | None = None
        self._file: int | None = None

    @classmethod
    def of_machine(cls, sysfs: Sysfs, folder: Path | None = None) -> Journal:
        """The journal of the machine under a root, in /var/lib/dvfo unless given otherwise."""
        return cls(folder or sysfs.path(STATE_DIR), Boot.of_machine(sysfs), MachineLock(sysfs))

    def exists(self) -> bool:
        """Whether something was saved and not put back.

        Raises:
            PermissionDeniedError: this user may not look.
        """
        with self._explained():
            return self.path.exists()

    def lock(self) -> None:
        """Become the one process that drives the machine; the lock ends with the process.

        Raises:
            BusyError: another one does; names it.
            PermissionDeniedError: this user may not write the folder.
            JournalError: the folder cannot be used, or another user laid a trap in it.
        """
        with self._explained():
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = open_own(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, _LOCK_MODE)
        try:
            self._take(lock)
            self._machine.take()
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def _take(self, lock: int) -> None:
        try:
            lock_alone(lock)
        except BlockingIOError:
            raise BusyError(
                f"this machine is driven by {_name_in(lock)}; stop that first"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise self._error(error) from None
            raise JournalError(
                f"{self.folder} lies on a file system without locks ({error.strerror}), as some "
                "network file systems are; keep the journal on a local one"
            ) from None
        with self._explained():
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"process {os.getpid()} ({' '.join(sys.argv[:2])})".encode(), 0)

    def holder(self) -> str | None:
        """The process that drives the machine now, in words; None if none does or it is unknown."""
        try:
            lock = open_own(self.folder / _LOCK, os.O_RDONLY)
        except (OSError, JournalError):
            return self._machine.holder()
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _name_in(lock)
        except OSError:
            return None
        finally:
            os.close(lock)
        return self._machine.holder()

    def unlock(self) -> None:
        """Let others drive the machine, at once, though a child may have a copy of the lock."""
        self._machine.release()
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        self.let_go()

    def let_go(self) -> None:
        """Close a forked child's copies; the lock stays its parent's."""
        self._machine.let_go()
        self._close_file()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def append(self, entry: JournalEntry) -> None:
        """Save a setting; on disk when this returns.

        Raises:
            JournalError: it could not be saved, so the setting must not be changed.
        """
        with self._explained():
            if self._file is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                self._file = open_own(self.path, flags, _JOURNAL_MODE, owned=True)
                sync_folder(self.folder)
            length = os.fstat(self._file).st_size
            try:
                _write_all(self._file, self._line(entry))
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
        self._move_foreign()
        try:
            lines = read_own(self.path).decode(errors="replace").split("\n")[:-1]
        except FileNotFoundError:
            return Content([], [])
        except OSError as error:
            raise self._error(error) from None
        entries: dict[str, JournalEntry] = {}
        damaged = []
        for number, line in enumerate(lines, start=1):
            try:
                document = json.loads(line)
                boot = Boot(document.pop("boot_id"), float(document.pop("boot_s", 0.0)))
                entry = JournalEntry(**document)
                if boot.is_same(self._boot):
                    entries[json.dumps(entry.setting, sort_keys=True)] = entry
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                damaged.append(f"line {number} of {self.path}, {line[:80]!r}, is damaged")
        return Content(list(entries.values()), damaged)

    def _move_foreign(self) -> None:
        """Put away what another user left before the machine booted: it restores nothing."""
        with self._explained():
            if not is_foreign_of_earlier(self.path, self._boot.began_s - SAME_BOOT_S):
                return
            aside = self.path.with_name(_FOREIGN)
            self.path.replace(aside)
        logger.warning(
            "%s is another user's and older than this boot: it restores nothing and is now %s",
            *(self.path, aside),
        )

    def keep(self, entries: Sequence[JournalEntry]) -> None:
        """Forget everything but what could not be restored.

        Raises:
            JournalError: it could not be written; what it held stays.
        """
        with self._explained():
            if entries:
                replace(self.path, b"".join(map(self._line, entries)), _JOURNAL_MODE)
            else:
                self.path.unlink(missing_ok=True)
                sync_folder(self.folder)
            self._close_file()

    def copy_aside(self) -> Path:
        """Keep what a damaged journal holds under another name, too.

        Raises:
            JournalError: it could not be written.
        """
        aside = self.folder / _DAMAGED
        with self._explained():
            replace(aside, read_own(self.path), _JOURNAL_MODE)
        return aside

    def _line(self, entry: JournalEntry) -> bytes:
        boot = {"boot_id": self._boot.boot_id, "boot_s": self._boot.began_s}
        return json.dumps({**boot, **asdict(entry)}).encode() + b"\n"

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

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
    text = os.pread(lock, 4096, 0).decode(errors="replace").strip() or "another process"
    # A group may write there; nothing of it is to reach a terminal but letters.
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def overlay_under(sysfs: Sysfs, folder: Path) -> str | None:
    """Mount point of the overlay that a folder lies on, as in a container; None if on none."""
    try:
        lines = sysfs.read_text(sysfs.path(MOUNTS)).splitlines()
    except HardwareError:
        return None
    best, kind = "", ""
    for line in lines:
        mount, _, system = line.partition(" - ")
        words, point = mount.split(), str(folder.resolve())
        if len(words) < _MOUNT_WORDS or not system:
            continue
        place = words[_MOUNT_POINT].replace("\\040", " ")
        inside = point == place or point.startswith(f"{place.rstrip('/')}/")
        if inside and len(place) >= len(best):
            best, kind = place, system.split()[0]
    return best if "overlay" in kind else None

"""A kernel's sysfs, debugfs and procfs as objects whose attributes obey the kernel's rules.

Paths are relative to the root, without a slash in front: "sys/class/hwmon/hwmon0/in1_input".
"""

from __future__ import annotations

import errno
import os
import posixpath
import tempfile
import threading
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tests.hw.fake.attribute import Attribute, Text

OLD, NEW = "old", "new"
GENERATIONS = (OLD, NEW)
_MAX_LINKS = 40
_DEBUGFS = "sys/kernel/debug"
_ROOT_READS = ("/energy_uj", "/cpuinfo_cur_freq")  # mode 0400
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


def kernel_error(code: int, path: str = "") -> OSError:
    """The error a system call returns."""
    return OSError(code, os.strerror(code), path)


class FakeKernel:
    """A tree of attributes, with time, failures on request and a log of writes.

    Args:
        generation: "old" is like Linux 4.9 and refuses; "new" aggregates requests (PM QoS).
    """

    def __init__(self, generation: str = NEW) -> None:
        if generation not in GENERATIONS:
            raise ValueError(f"{generation!r} is no generation; use one of {GENERATIONS}")
        self.generation = generation
        self.now_s = 1000.0
        self.boot_time_s = 1.7e9  # by the wall clock
        # What is locked must be files: only the real kernel lets go of a dead process' locks.
        self.shared = tempfile.TemporaryDirectory(prefix="fake-kernel-")
        for name in ("folder", "devtmpfs"):
            (Path(self.shared.name) / name).touch()
        self.tick_s = 0.0  # time that each access takes
        self.fails: dict[str, int] = {}  # path -> errno of every access
        self.fails_writes: dict[str, int] = {}  # path -> errno of writes only
        self.answers: dict[str, str] = {}  # path -> what reads give instead of the value
        self.is_root = True  # the user's rights
        self.is_read_only = False  # as a container mounts it
        self.granted: set[str] = set()  # real paths that udev opened to this user
        self.commands: dict[str, str | Callable[[], str]] = {}  # "vcgencmd get_throttled" -> output
        self.writes: list[tuple[str, str]] = []  # what took effect, by real path
        self.before_access: Callable[[str, str], None] | None = None
        self.after_access: Callable[[str, str], None] | None = None
        # Behaviours by name, for tests: devices["cpu0"].load = 0.5
        self.devices: dict[str, Any] = {}
        self._attributes: dict[str, Attribute] = {}
        self._links: dict[str, str] = {}
        self._folders: dict[str, dict[str, None]] = {"": {}}
        self._lock = threading.RLock()

    @property
    def is_old(self) -> bool:
        """Whether this kernel is of the refusing generation."""
        return self.generation == OLD

    # Time

    def clock(self) -> float:
        """Present time, s; for a parameter `clock`."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Let time pass; for a parameter `sleep`."""
        self.now_s += seconds

    # Building the tree

    def add(self, attributes: Mapping[str, Attribute | str | int], folder: str = "") -> None:
        """Add attributes by path, below a folder; texts and numbers are read-only."""
        for name, value in attributes.items():
            path = self._enter(posixpath.join(folder, name))
            self._attributes[path] = value if isinstance(value, Attribute) else Text(str(value))

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link; the target is named from the root, or starts with a dot."""
        if target.startswith("."):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        self._links[self._enter(path)] = target

    def remove(self, path: str) -> None:
        """Remove an attribute, a link or a whole folder, as when a device goes away."""
        for name in list(self._folders.get(path, ())):
            self.remove(posixpath.join(path, name))
        for table in (self._attributes, self._links, self._folders):
            table.pop(path, None)
        folder, name = posixpath.split(path)
        self._folders.get(folder, {}).pop(name, None)

    def _enter(self, path: str) -> str:
        path = posixpath.normpath(path)
        child = path
        while child:
            folder, name = posixpath.split(child)
            siblings = self._folders.setdefault(folder, {})
            if name in siblings:
                break
            siblings[name] = None
            child = folder
        return path

    # What the code under test reaches

    def access(self, operation: str, path: str, value: str = "") -> Any:
        """Do one of read, write, glob, exists, is_writable, real_path and run, with both hooks."""
        with self._lock:
            self.now_s += self.tick_s
            if self.before_access is not None:
                self.before_access(operation, path)
            result = self.write(path, value) if operation == "write" else self._ask(operation, path)
            if self.after_access is not None:
                self.after_access(operation, path)
            return result

    def _ask(self, operation: str, path: str) -> Any:
        operations: dict[str, Callable[[str], Any]] = {
            "read": self.read,
            "glob": self.glob,
            "exists": self.exists,
            "is_writable": self.is_writable,
            "is_read_only": lambda _: self.is_read_only,
            "real_path": self.real_path,
            "run": self.run,
            "boot_time": lambda _: self.boot_time_s,
        }
        return operations[operation](path)

    def read(self, path: str) -> str:
        """Read an attribute as the kernel prints it, with the line end."""
        real = self.real_path(path)
        self._fail(path, real, self.fails)
        if self._is_closed(real) or (not self._may(real) and real.endswith(_ROOT_READS)):
            raise kernel_error(errno.EACCES, path)
        text = self._find(path, real).read()
        return self.answers.get(path, self.answers.get(real, text))

    def write(self, path: str, value: str) -> None:
        """Write an attribute; one call per value as with sysfs."""
        real = self.real_path(path)
        self._fail(path, real, self.fails)
        self._fail(path, real, self.fails_writes)
        if self._is_closed(real):
            raise kernel_error(errno.EACCES, path)
        attribute = self._find(path, real)
        if self.is_read_only:
            raise kernel_error(errno.EROFS, path)
        if not attribute.writable or not self._may(real):
            # sysfs checks its mode bits even for root (KERNFS_ROOT_EXTRA_OPEN_PERM_CHECK).
            raise kernel_error(errno.EACCES, path)
        attribute.write(value)
        self.writes.append((real, value))

    def exists(self, path: str) -> bool:
        """Whether there is an attribute or a folder."""
        real = self.real_path(path)
        return (real in self._attributes or real in self._folders) and not self._is_closed(real)

    def is_writable(self, path: str) -> bool:
        """Whether the mode bits and this user's rights allow to write an attribute."""
        real = self.real_path(path)
        codes = {table.get(key) for table in self._failures for key in (path, real)}
        attribute = self._attributes.get(real)
        is_open = self._may(real) and not codes & set(_NOT_WRITABLE)
        return attribute is not None and attribute.writable and is_open and not self.is_read_only

    def real_path(self, path: str) -> str:
        """The path with all links followed, whether it exists or not."""
        return self._follow(path, 0)

    def glob(self, pattern: str) -> list[str]:
        """Paths that match a pattern, in any order; wildcards match within one name."""
        found = [""]
        for part in pattern.split("/"):
            found = [
                posixpath.join(path, name) for path in found for name in self._match(path, part)
            ]
        return found

    def run(self, command: str) -> str:
        """What a command prints; ENOENT where there is no such command."""
        self._fail(command, command, self.fails)
        if command not in self.commands:
            raise kernel_error(errno.ENOENT, command)
        output = self.commands[command]
        return output if isinstance(output, str) else output()

    # What only tests reach

    def attribute(self, path: str) -> Attribute:
        """The object behind a path."""
        return self._find(path, self.real_path(path))

    def set(self, path: str, value: str | int) -> None:
        """Change a read-only text or a stored value from outside, without a write."""
        attribute = self.attribute(path)
        if not isinstance(attribute, Text):
            raise TypeError(f"{path} has a behaviour; act on that")
        attribute.value = str(value)

    def snapshot(self) -> dict[str, str]:
        """Text of every writable attribute that changes only by a write, by real path."""
        return {
            path: _text(attribute)
            for path, attribute in sorted(self._attributes.items())
            if attribute.writable and not attribute.volatile
        }

    def requests(self) -> dict[str, tuple[int, int]]:
        """Limits asked for by name of the clock, which a cap may hide, within the hardware's."""
        return {
            name: device.requests()
            for name, device in self.devices.items()
            if hasattr(device, "requests")
        }

    def _may(self, real: str) -> bool:
        return self.is_root or real in self.granted

    def _is_closed(self, real: str) -> bool:
        # debugfs lets nobody but root in (mode 0700).
        return not self.is_root and f"{real}/".startswith(f"{_DEBUGFS}/")

    @property
    def _failures(self) -> tuple[dict[str, int], dict[str, int]]:
        return self.fails, self.fails_writes

    def _fail(self, path: str, real: str, table: dict[str, int]) -> None:
        code = table.get(path, table.get(real))
        if code is not None:
            raise kernel_error(code, path)

    def _find(self, path: str, real: str) -> Attribute:
        attribute = self._attributes.get(real)
        if attribute is None:
            raise kernel_error(errno.EISDIR if real in self._folders else errno.ENOENT, path)
        return attribute

    def _match(self, folder: str, part: str) -> list[str]:
        real = self.real_path(folder)
        names = {} if self._is_closed(real) else self._folders.get(real, {})
        if any(sign in part for sign in "*?["):
            return [name for name in names if fnmatchcase(name, part)]
        return [part] if part in names else []

    def _follow(self, path: str, depth: int) -> str:
        if depth > _MAX_LINKS:
            raise kernel_error(errno.ELOOP, path)
        done = ""
        for part in path.split("/"):
            if part in ("", "."):
                continue
            # ".." leaves the folder that a link led to, not the one the link lies in.
            done = posixpath.dirname(done) if part == ".." else posixpath.join(done, part)
            if done in self._links:
                done = self._follow(self._links[done], depth + 1)
        return done


def _text(attribute: Attribute) -> str:
    try:
        return attribute.read()
    except OSError as error:
        return errno.errorcode[error.errno or 0]

"""Saving what the kernel shows of a machine, so that it can be looked at elsewhere.

The tree holds what the doctor reads, and all small files beside it that describe clocks, power and
heat. They lie where the kernel has them, and class entries are links there, as in /sys itself. What
only root may read is only in a tree that root has recorded; NVIDIA's cards have no files and are in
none. Serial numbers, addresses and other people's processes stay out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from hw.clocks.emc import BPMP_CLOCK, OVERRIDE
from hw.errors import HardwareError, UnsupportedError
from hw.firmware import PI_FILES
from hw.power_mode import PowerModes
from hw.rivals import find_rivals
from hw.survey import TEGRA, survey
from hw.sysfs import COMMANDS, Sysfs

PATTERNS = (
    "sys/devices/system/cpu/cpufreq/policy*/*",
    "sys/class/devfreq/*/*",
    "sys/class/hwmon/hwmon*/*",
    "sys/class/thermal/thermal_zone*/*",
    "sys/class/thermal/thermal_zone*/cdev*/type",
    *PI_FILES,
    "sys/class/thermal/cooling_device*/*",
    "sys/class/powercap/*/*",
    "sys/class/power_supply/*/*",
    f"{BPMP_CLOCK}/*",
    f"{OVERRIDE}/*",
    "proc/device-tree/compatible",
    "etc/nvpmodel.conf",
    TEGRA,
)
_PRIVATE = re.compile(r"proc/\d+/|(serial|uuid|address|uevent|boot_id)[^/]*$")


class RecordingSysfs(Sysfs):
    """Reads a machine and writes down what it read.

    Args:
        inner: access to the kernel's files.
        folder: where the tree goes.

    Attributes:
        failure: what kept it from writing, which no survey takes for a missing file.
    """

    def __init__(self, inner: Sysfs, folder: Path) -> None:
        super().__init__(inner.root)
        self._inner = inner
        self._folder = folder
        self.failure: OSError | None = None

    def run(self, command: Sequence[str]) -> str:
        """Run a command and keep what it prints."""
        output = self._inner.run(command)
        self._keep(f"{COMMANDS}/{' '.join(command)}", output)
        return output

    def exists(self, path: Path) -> bool:
        """Whether there is such a file, which the tree then has too."""
        if not self._inner.exists(path):
            return False
        self.look(path)
        return True

    def glob(self, pattern: str) -> list[Path]:
        """Paths that match a pattern."""
        return self._inner.glob(pattern)

    def is_writable(self, path: Path) -> bool:
        """Whether this user may write a file."""
        return self._inner.is_writable(path)

    def read_only(self, path: Path) -> str | None:
        """What to do where a file's file system is mounted read-only."""
        return self._inner.read_only(path)

    def real_path(self, path: Path) -> Path:
        """The path with all links followed."""
        return self._inner.real_path(path)

    def close(self) -> None:
        """Close all files."""
        self._inner.close()

    def look(self, path: Path) -> None:
        """Keep a file if it is one and can be read."""
        try:
            text = self._inner._read(path)
        except (OSError, UnicodeDecodeError):
            return
        finally:
            self.close()  # a server has more files than a process may hold open
        self._keep_where_it_lies(path, text)

    def _read(self, path: Path) -> str:
        text = self._inner._read(path)
        self._keep_where_it_lies(path, text)
        return text

    def _keep_where_it_lies(self, path: Path, text: str) -> None:
        """Keep a file at its real place, with a link from the name that was used."""
        real = self._inner.real_path(path)
        kept = self._keep(str(real.relative_to(self.root)), text, self._inner.is_writable(path))
        name = self._folder / path.relative_to(self.root)
        if kept is not None and not name.exists():
            try:
                name.parent.mkdir(parents=True, exist_ok=True)
                name.symlink_to(os.path.relpath(kept, name.parent))
            except OSError as error:
                self.failure = error

    def _keep(self, name: str, text: str, is_writable: bool = False) -> Path | None:
        """Put a text into the tree, as it was first; None if it is private or cannot be put."""
        if _PRIVATE.search(name):
            return None
        copy = self._folder / name
        try:
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(text, encoding="utf-8")
                copy.chmod(0o644 if is_writable else 0o444)
        except OSError as error:
            self.failure = error
            return None
        return copy


def record(sysfs: Sysfs, folder: Path) -> int:
    """Save a machine into a new folder; returns the number of files.

    Raises:
        HardwareError: the folder is not new, or cannot be written.
    """
    if folder.exists():
        raise UnsupportedError(f"{folder} exists already; name a new folder")
    recorder = RecordingSysfs(sysfs, folder)
    try:
        survey(recorder)
        for pattern in PATTERNS:
            for path in sysfs.glob(pattern):
                recorder.look(path)
        for path in PowerModes(sysfs).files:  # by the names that nvpmodel has for them
            recorder.look(path)
        if recorder.failure is not None:
            raise recorder.failure
        for rival in find_rivals(sysfs):
            copy = folder / rival.evidence
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(sysfs.read_text(sysfs.path(rival.evidence)), encoding="utf-8")
    except OSError as error:
        raise HardwareError(f"{folder} cannot be written: {error}; name another folder") from None
    return sum(path.is_file() and not path.is_symlink() for path in folder.rglob("*"))

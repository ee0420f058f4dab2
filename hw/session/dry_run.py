"""Dry run of a control: writes are reported and remembered instead of made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hw.settings.settings import Setting, Value
from hw.sysfs import Sysfs


class DryRunSysfs(Sysfs):
    """Reads the machine, but only reports what it would write; reading shows what was reported.

    Args:
        inner: access to the kernel's files.
        tell: takes one sentence per write.
    """

    def __init__(self, inner: Sysfs, tell: Callable[[str], object]) -> None:
        super().__init__(inner.root)
        self._inner = inner
        self._tell = tell
        self._told: dict[Path, str] = {}

    def glob(self, pattern: str) -> list[Path]:
        """Paths that match a pattern."""
        return self._inner.glob(pattern)

    def exists(self, path: Path) -> bool:
        """Whether there is such a file."""
        return self._inner.exists(path)

    def is_writable(self, path: Path) -> bool:
        """Whether a file may be written: any, since none is."""
        return True

    def read_only(self, path: Path) -> str | None:
        """Nothing is: nothing is written."""
        return None

    def real_path(self, path: Path) -> Path:
        """The path with all links followed."""
        return self._inner.real_path(path)

    def run(self, command: Sequence[str]) -> str:
        """What a command prints."""
        return self._inner.run(command)

    def close(self) -> None:
        """Close all files."""
        self._inner.close()

    def _read(self, path: Path) -> str:
        told = self._told.get(path)
        return self._inner._read(path) if told is None else told

    def _write(self, path: Path, value: str) -> None:
        now = self._read(path).strip()
        if now != value:
            self._tell(f"would write {value} to {path} (now {now})")
            self._told[path] = value


class DryRunChanges:
    """Saves nothing, for nothing is changed."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def begin(self) -> None:
        """Take no lock."""

    def knows(self, setting: Setting) -> bool:
        """Whether a setting was seen already."""
        return setting.key in self._known

    def owed(self, setting: Setting) -> Value | None:
        """Nothing: no process is known to have left anything."""
        return None

    def save(self, setting: Setting, value: Value | None = None) -> None:
        """Remember that a setting was seen."""
        self._known.add(setting.key)

    def before_end(self, look: Callable[[], None]) -> None:
        """Keep no hook: nothing is put back."""

    def give_back(self) -> None:
        """Put nothing back, and see settings anew."""
        self._known.clear()

    def end(self) -> None:
        """Put nothing back."""

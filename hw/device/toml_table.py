"""Strict reading of TOML tables: every key known, every number finite and in range."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, ClassVar, TypeVar

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TableT = TypeVar("TableT", bound="TomlTable")
_LONGEST = 60
"""Characters of a value in a message."""


class TomlTable:
    """One table of a file; keys are taken one by one and `finish` refuses the rest.

    Subclasses say what kind of file it is and which error they raise; every error names the
    file, the key, its value and the remedy.
    """

    file_kind: ClassVar[str]
    error_class: ClassVar[type[Exception]]

    def __init__(self, path: Path, prefix: str, values: dict[str, Any]) -> None:
        """Wrap the values of a table whose keys are shown behind `prefix`."""
        self._path = path
        self._prefix = prefix
        self._values = dict(values)

    @classmethod
    def load(cls: type[TableT], path: Path) -> TableT:
        """Read a file.

        Raises:
            Exception: `error_class`, if it is missing, unreadable or not TOML.
        """
        if not path.is_file():
            raise cls.error_class(f"{cls.file_kind} {path} does not exist; check the path")
        try:
            return cls(path, "", tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise cls.error_class(
                f"{cls.file_kind} {path} cannot be read: {error}; correct the file"
            ) from None

    def error(self, key: str, problem: str) -> Exception:
        """Build the error for one key."""
        return self.error_class(f"{self._path}: {self._prefix}{key} {problem}")

    def names(self) -> tuple[str, ...]:
        """Keys that are still to be taken."""
        return tuple(self._values)

    def holds_table(self, key: str) -> bool:
        """Tell whether a key holds a table."""
        return isinstance(self._values.get(key), dict)

    def table(self: TableT, key: str) -> TableT:
        """Take a sub-table."""
        value = self._take(key)
        if not isinstance(value, dict):
            raise self.error(key, f"is {shown(value)}; make it a table")
        return type(self)(self._path, f"{self._prefix}{key}.", value)

    def text(self, key: str) -> str:
        """Take a string that is not empty."""
        value = self._take(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f"is {shown(value)}; make it a text")
        return value

    def path(self, key: str) -> Path:
        """Take a file name, relative to this file."""
        return self._path.parent / self.text(key)

    def number(self, key: str, low: float = 0.0, high: float = math.inf) -> float:
        """Take a finite number in [low, high]."""
        return self._checked(key, self._take(key), low, high)

    def numbers(self, key: str, low: float = 0.0, high: float = math.inf) -> tuple[float, ...]:
        """Take a list of finite numbers in [low, high]; a single number is a list of one."""
        value = self._take(key)
        items = value if isinstance(value, list) else [value]
        if not items:
            raise self.error(key, "is empty; list at least one number")
        return tuple(self._checked(key, item, low, high) for item in items)

    def finish(self) -> None:
        """Refuse keys that nobody took.

        Raises:
            Exception: `error_class`, for an unknown key.
        """
        for key, value in self._values.items():
            raise self.error(
                key, f"= {shown(value)} is no known key; remove it or correct its name"
            )

    def _take(self, key: str) -> object:
        if key not in self._values:
            raise self.error(key, "is missing; add it")
        return self._values.pop(key)

    def _checked(self, key: str, value: object, low: float, high: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"is {shown(value)}; give a number")
        if not low <= value <= min(high, sys.float_info.max):
            wanted = f"of {low:g} or more" if high == math.inf else f"from {low:g} to {high:g}"
            raise self.error(key, f"is {shown(value)}; give a finite number {wanted}")
        return float(value)


def shown(value: object) -> str:
    """A value as a message shows it: tables and lists by their kind, and the rest cut short."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."

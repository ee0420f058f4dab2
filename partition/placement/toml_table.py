"""Strict reading of a cluster file: every key known, every number in range."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from partition.placement.errors import ClusterError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_LONGEST = 60
"""Characters of a value in a message."""


class Table:
    """One table of a cluster file; keys are taken one by one and `finish` refuses the rest."""

    def __init__(self, path: Path, prefix: str, values: dict[str, Any]) -> None:
        self.path = path
        self._prefix = prefix
        self._values = dict(values)

    @classmethod
    def load(cls, path: Path) -> Table:
        """Read a file.

        Raises:
            ClusterError: it is missing, unreadable or not TOML.
        """
        if not path.is_file():
            raise ClusterError(f"cluster file {path} does not exist: check the path")
        try:
            return cls(path, "", tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise ClusterError(f"cluster file {path} cannot be read ({error}): correct it") from (
                error
            )

    def error(self, key: str, problem: str) -> ClusterError:
        """The error for one key."""
        return ClusterError(f"{self.path}: {self._prefix}{key} {problem}")

    def holds(self, key: str) -> bool:
        """Whether a key is there and not taken yet."""
        return key in self._values

    def tables(self, key: str) -> list[Table]:
        """Take a list of tables; one that is absent is empty."""
        value = self._values.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(key, f"is {shown(value)}: write [[{self._prefix}{key}]] tables")
        return [
            Table(self.path, f"{self._prefix}{key}[{i}].", item) for i, item in enumerate(value)
        ]

    def table(self, key: str) -> Table:
        """Take a sub-table; one that is absent is empty."""
        value = self._values.pop(key, {})
        if not isinstance(value, dict):
            raise self.error(key, f"is {shown(value)}: make it a table")
        return Table(self.path, f"{self._prefix}{key}.", value)

    def text(self, key: str, default: str | None = None) -> str:
        """Take a text that is not empty."""
        value = self._take(key, default)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f"is {shown(value)}: make it a text")
        return value

    def number(self, key: str, default: float | None = None, *, positive: bool = False) -> float:
        """Take a finite number from 0, or above 0 where `positive`."""
        return self._checked(key, self._take(key, default), positive)

    def whole(self, key: str, default: int | None = None, *, low: int = 0) -> int:
        """Take a whole number from `low`."""
        value = self._take(key, default)
        if isinstance(value, float) and value.is_integer():  # 4e9 bytes
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise self.error(key, f"is {shown(value)}: give a whole number from {low}")
        return value

    def numbers(self, key: str) -> tuple[float, ...]:
        """Take a list of at least one finite number from 0."""
        value = self._take(key, None)
        if not isinstance(value, list) or not value:
            raise self.error(key, f"is {shown(value)}: list at least one number")
        return tuple(self._checked(key, item, positive=False) for item in value)

    def flag(self, key: str) -> bool:
        """Take true or false; absent is false."""
        value = self._take(key, False)
        if not isinstance(value, bool):
            raise self.error(key, f"is {shown(value)}: write true or false")
        return value

    def finish(self) -> None:
        """Refuse keys that nobody took.

        Raises:
            ClusterError: for an unknown key.
        """
        for key, value in self._values.items():
            raise self.error(
                key, f"= {shown(value)} is no known field: remove it or correct its name"
            )

    def _take(self, key: str, default: object) -> object:
        if key not in self._values and default is None:
            raise self.error(key, "is missing: add it")
        return self._values.pop(key, default)

    def _checked(self, key: str, value: object, positive: bool) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"is {shown(value)}: give a number")
        if not 0 <= value <= sys.float_info.max or (positive and not value):
            wanted = "above 0" if positive else "of 0 or more"
            raise self.error(key, f"is {shown(value)}: give a finite number {wanted}")
        return float(value)


def shown(value: object) -> str:
    """A value as a message shows it: tables and lists by their kind, and the rest cut short."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."

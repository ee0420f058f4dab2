"""Strict reading of TOML tables: every key is known, every number finite."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from envs.errors import ScenarioError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Table:
    """A TOML table that knows its file and name, so that errors can say where they are.

    Keys are taken out one by one; `finish` refuses what is left.
    """

    def __init__(self, path: Path, name: str, values: dict[str, Any]) -> None:
        self._path = path
        self._name = name
        self._values = dict(values)

    @classmethod
    def load(cls, path: Path) -> Table:
        """Read a file.

        Raises:
            ScenarioError: missing, unreadable or not TOML.
        """
        try:
            return cls(path, "", tomllib.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise ScenarioError(f"scenario file {path} does not exist; check the path") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ScenarioError(f"scenario file {path} cannot be read: {error}") from None

    def error(self, key: str, problem: str) -> ScenarioError:
        """Build the error for one key."""
        return ScenarioError(f"{self._path}: {self._name}{key} {problem}")

    def table(self, key: str) -> Table:
        """Take a sub-table; a missing one reads as empty."""
        value = self._values.pop(key, {})
        if not isinstance(value, dict):
            raise self.error(key, f"must be a table, got {value!r}")
        return Table(self._path, f"{self._name}{key}.", value)

    def text(self, key: str, default: str | None = None) -> str:
        """Take a string."""
        value = self._values.pop(key, default)
        if not isinstance(value, str):
            raise self.error(key, f"must be a string, got {value!r}")
        return value

    def number(self, key: str, *, low: float, high: float, default: float | None = None) -> float:
        """Take a finite number in [low, high]."""
        value = self._values.pop(key, default)
        return self._checked(key, value, low, high)

    def numbers(self, key: str, *, low: float, high: float) -> tuple[float, ...]:
        """Take a list of finite numbers in [low, high]; a single number is a list of one."""
        value = self._values.pop(key, None)
        items = value if isinstance(value, list) else [value]
        return tuple(self._checked(key, item, low, high) for item in items)

    def has(self, key: str) -> bool:
        """Tell whether a key is still there."""
        return key in self._values

    def is_table(self, key: str) -> bool:
        """Tell whether a key holds a table."""
        return isinstance(self._values.get(key), dict)

    def path_of(self, key: str) -> Path:
        """Take a file name, relative to this file."""
        return self._path.parent / self.text(key)

    def finish(self) -> None:
        """Refuse keys that nobody took.

        Raises:
            ScenarioError: an unknown key.
        """
        for key in self._values:
            raise self.error(key, "is not a known key; remove it or check its spelling")

    def _checked(self, key: str, value: object, low: float, high: float) -> float:
        if value is None:
            raise self.error(key, "is missing; add it")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"must be a number, got {value!r}")
        if not (math.isfinite(value) and low <= value <= high):
            raise self.error(key, f"must be within {low:g} and {high:g}, got {value}")
        return float(value)

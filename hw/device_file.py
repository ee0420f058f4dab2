"""Strict reading of device model files: every key known, every number finite and in range."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any, TypeVar

from hw.errors import DeviceFileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Section = TypeVar("Section")

DEVICES = Path(__file__).with_name("devices")


def device_names() -> tuple[str, ...]:
    """Names of the device models that come with the package."""
    return tuple(sorted(path.stem for path in DEVICES.glob("*.toml")))


def device_path(name_or_path: str | Path) -> Path:
    """Find a device model file by its name or by its path (`*.toml`).

    Raises:
        DeviceFileError: neither a known name nor an existing file.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = DEVICES / f"{name_or_path}.toml"
        if str(name_or_path) not in device_names():
            raise DeviceFileError(
                f"device {str(name_or_path)!r} is unknown; use one of "
                f"{', '.join(device_names())} or the path of a .toml file"
            )
    if not path.is_file():
        raise DeviceFileError(f"device file {path} does not exist; check the path")
    return path


class DeviceTable:
    """One table of a device file; keys are taken one by one and `finish` refuses the rest."""

    def __init__(self, path: Path, prefix: str, values: dict[str, Any]) -> None:
        self._path = path
        self._prefix = prefix
        self._values = dict(values)

    @classmethod
    def load(cls, path: Path) -> DeviceTable:
        """Read a file.

        Raises:
            DeviceFileError: unreadable or not TOML.
        """
        try:
            return cls(path, "", tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise DeviceFileError(
                f"device file {path} cannot be read: {error}; correct the file"
            ) from None

    def error(self, key: str, problem: str) -> DeviceFileError:
        """Build the error for one key."""
        return DeviceFileError(f"{self._path}: {self._prefix}{key} {problem}")

    def names(self) -> tuple[str, ...]:
        """Keys that are still to be taken."""
        return tuple(self._values)

    def table(self, key: str) -> DeviceTable:
        """Take a sub-table."""
        value = self._take(key)
        if not isinstance(value, dict):
            raise self.error(key, f"is {value!r}; make it a table")
        return DeviceTable(self._path, f"{self._prefix}{key}.", value)

    def text(self, key: str) -> str:
        """Take a string that is not empty."""
        value = self._take(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f"is {value!r}; make it a text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a list of strings, possibly empty."""
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(key, f"is {value!r}; make it a list of texts")
        return tuple(value)

    def number(self, key: str) -> float:
        """Take a finite number of 0 or more."""
        return self._checked(key, self._take(key))

    def positive(self, key: str) -> float:
        """Take a finite number above 0."""
        value = self.number(key)
        if value == 0.0:
            raise self.error(key, "is 0; give a number above 0")
        return value

    def ascending(self, key: str) -> tuple[float, ...]:
        """Take a list of at least one number above 0, each larger than the one before."""
        value = self._take(key)
        if not isinstance(value, list) or not value:
            raise self.error(key, f"is {value!r}; make it a list of numbers")
        numbers = tuple(self._checked(key, item) for item in value)
        if any(high <= low for low, high in zip((0.0, *numbers), numbers, strict=False)):
            raise self.error(key, f"is {value!r}; list numbers above 0 in ascending order")
        return numbers

    def section(self, kind: type[Section], positive: tuple[str, ...] = ()) -> Section:
        """Read this whole table as a dataclass of numbers; the named ones must be above 0."""
        values = {
            field.name: self.positive(field.name)
            if field.name in positive
            else self.number(field.name)
            for field in dataclasses.fields(kind)  # type: ignore[arg-type]
        }
        self.finish()
        return kind(**values)

    def finish(self) -> None:
        """Refuse keys that nobody took.

        Raises:
            DeviceFileError: an unknown key.
        """
        for key, value in self._values.items():
            raise self.error(key, f"= {value!r} is no known key; remove it or correct its name")

    def _take(self, key: str) -> object:
        if key not in self._values:
            raise self.error(key, "is missing; add it")
        return self._values.pop(key)

    def _checked(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"is {value!r}; give a number")
        if not math.isfinite(value) or value < 0:
            raise self.error(key, f"is {value}; give a finite number of 0 or more")
        return float(value)

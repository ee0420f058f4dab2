"""Device model files: finding and strictly reading them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TypeVar

from hw.device.toml_table import TomlTable, shown
from hw.errors import DeviceFileError

Section = TypeVar("Section")

DEVICES = Path(__file__).parents[1] / "devices"


def device_names() -> tuple[str, ...]:
    """Names of the device models that come with the package."""
    return tuple(sorted(path.stem for path in DEVICES.glob("*.toml")))


def device_path(name_or_path: str | Path) -> Path:
    """Find a device model file by its name or by its path (`*.toml`).

    Raises:
        DeviceFileError: not a known name.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = DEVICES / f"{name_or_path}.toml"
        if str(name_or_path) not in device_names():
            raise DeviceFileError(
                f"device {str(name_or_path)!r} is unknown; use one of "
                f"{', '.join(device_names())} or the path of a .toml file"
            )
    return path


class DeviceTable(TomlTable):
    """A table of a device file."""

    file_kind = "device file"
    error_class = DeviceFileError

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a list of strings, possibly empty."""
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(key, f"is {shown(value)}; make it a list of texts")
        return tuple(value)

    def positive(self, key: str) -> float:
        """Take a finite number above 0."""
        value = self.number(key)
        if value == 0.0:
            raise self.error(key, "is 0; give a number above 0")
        return value

    def ascending(self, key: str) -> tuple[float, ...]:
        """Take a list of at least one number above 0, each larger than the one before."""
        numbers = self.numbers(key)
        if any(high <= low for low, high in zip((0.0, *numbers), numbers, strict=False)):
            raise self.error(key, f"is {list(numbers)}; list numbers above 0 in ascending order")
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

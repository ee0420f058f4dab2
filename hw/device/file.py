"""Device model files: finding them."""

from __future__ import annotations

from pathlib import Path

from hw.errors import DeviceFileError

DEVICES = Path(__file__).parents[1] / "devices"
AT = "@"
"""Between a device and a run-time, where one text names both: `agx-orin@torch`."""
PLUS = "+"
"""Between a device and its power mode: `agx-orin+15W`, `agx-orin+15W@torch`."""


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


def on_runtime(device: str, runtime: str | None) -> str:
    """A device and the run-time on it in one text; without one the device's first is meant."""
    return device if runtime is None else f"{split_runtime(device)[0]}{AT}{runtime}"


def split_runtime(name_or_path: str | Path) -> tuple[str, str | None]:
    """Undo `on_runtime`; an `@` inside a path is part of it."""
    return _split(str(name_or_path), AT)


def split_mode(device: str) -> tuple[str, str | None]:
    """A device and its power mode, without a run-time: `agx-orin+15W`."""
    return _split(device, PLUS)


def moved(device: str, path: Path) -> str:
    """A device with its power mode and run-time, its file elsewhere."""
    device, runtime = split_runtime(device)
    _, mode = split_mode(device)
    return on_runtime(str(path) if mode is None else f"{path}{PLUS}{mode}", runtime)


def _split(text: str, mark: str) -> tuple[str, str | None]:
    first, found, last = text.rpartition(mark)
    is_both = found and not last.endswith(".toml") and not set(last) & {"/", "\\"}
    return (first, last) if is_both else (text, None)

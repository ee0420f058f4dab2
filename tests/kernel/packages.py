"""Debian packages: what is installed for good, and what is only downloaded."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.kernel.errors import KernelTestError

# Programs that run here: QEMU, and what compiles kernel modules (the libraries are for the
# programs of linux-kbuild).
INSTALLED = ("gcc-12", "libelf1", "libssl3", "make", "qemu-system-x86", "xz-utils")


@dataclass(frozen=True, slots=True)
class Kernel:
    """Debian's kernel, in one version.

    Attributes:
        release: what `uname -r` says, such as "6.1.0-56-amd64".
        version: version of the Debian packages, such as "6.1.192-2".
    """

    release: str
    version: str

    @property
    def series(self) -> str:
        """Version of the kernel it is based on, such as "6.1"."""
        return ".".join(self.version.split(".")[:2])

    @property
    def packages(self) -> tuple[str, ...]:
        """What is downloaded and taken apart, with the version where it must be the kernel's.

        The programs of linux-kbuild may be newer than the headers, as Debian's own dependency
        says: its unsigned packages appear hours before the signed kernel made of them.
        """
        common = self.release.removesuffix("-amd64") + "-common"
        return (
            f"linux-image-{self.release}={self.version}",
            f"linux-headers-{self.release}={self.version}",
            f"linux-headers-{common}={self.version}",
            f"linux-kbuild-{self.series}",
            f"linux-source-{self.series}={self.version}",
            "acpica-tools",
            "busybox-static",
        )


def check_system() -> None:
    """Refuse any other system than Debian 12 on x86-64, where nothing was tried."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        system = {}
    name = (system.get("ID"), system.get("VERSION_ID"), platform.machine())
    if name != ("debian", "12", "x86_64"):
        found = system.get("PRETTY_NAME", platform.system())
        raise KernelTestError(
            f"kernel tests need Debian 12 on x86-64, this is {found} on {platform.machine()}; "
            "run them in a machine or a container with that system"
        )


def update_lists() -> None:
    """Fetch apt's lists of packages, if that is permitted."""
    if os.geteuid() == 0:
        run("apt-get", "-qq", "update")


def install_missing() -> None:
    """Install the programs that are not there yet.

    Raises:
        KernelTestError: some are missing and only root may install them.
    """
    names = missing()
    if not names:
        return
    install = ("apt-get", "install", "--yes", "--no-install-recommends", *names)
    if os.geteuid() != 0:
        raise KernelTestError(f"{', '.join(names)} not installed; run: sudo {' '.join(install)}")
    print("installing", *names, flush=True)
    run(*install, environment={"DEBIAN_FRONTEND": "noninteractive"})


def missing() -> list[str]:
    """List the programs that are not installed."""
    command = ("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *INSTALLED)
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return [name for name in INSTALLED if f"{name} installed" not in result.stdout.splitlines()]


def newest_kernel() -> Kernel:
    """Find the newest kernel of which Debian has all packages, by apt's lists.

    Raises:
        KernelTestError: apt does not know one.
    """
    for entry in _ask_apt("show", "linux-image-amd64").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in entry.splitlines() if ": " in line)
        if {"Depends", "Version"} <= fields.keys():
            package = fields["Depends"].split()[0]
            kernel = Kernel(package.removeprefix("linux-image-"), fields["Version"])
            if all(map(_is_known, kernel.packages)):
                return kernel
    raise KernelTestError("apt does not know a complete kernel; run: sudo apt-get update")


def _is_known(package: str) -> bool:
    """Say whether apt's lists have a package, in its version if one is named."""
    return bool(_ask_apt("show", package))


def _ask_apt(*command: str) -> str:
    """Ask apt's lists; nothing if they do not have it."""
    result = subprocess.run(("apt-cache", *command), capture_output=True, text=True, check=False)
    return result.stdout


def download(packages: tuple[str, ...], folder: Path) -> None:
    """Download packages into a folder; those that are there already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    # As root, apt would otherwise complain that its own user may not write there.
    run("apt-get", "-qq", "--option", "APT::Sandbox::User=root", "download", *packages, cwd=folder)


def deb_of(package: str, folder: Path) -> Path:
    """Find the downloaded file of a package, the newest one if its version was left open."""
    name, _, version = package.partition("=")
    return max(folder.glob(f"{name}_{version or '*'}_*.deb"), key=os.path.getmtime)


def unpack(package: Path, into: Path, *patterns: str) -> None:
    """Unpack the files of a downloaded package that match; all of them without a pattern."""
    into.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        ("dpkg-deb", "--fsys-tarfile", str(package)), stdout=subprocess.PIPE
    ) as archive:
        run("tar", "--extract", "--wildcards", "--directory", into, *patterns, stdin=archive.stdout)


def run(
    *command: str | Path,
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
    input_text: str | None = None,
    stdin: IO[bytes] | None = None,
) -> None:
    """Run a command, silent unless it fails; `environment` is added to ours.

    Raises:
        KernelTestError: it failed; the end of its output is in the message.
    """
    given = {"stdin": stdin} if input_text is None else {"input": input_text.encode()}
    result = subprocess.run(
        tuple(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        **given,
    )
    if result.returncode:
        tail = " / ".join(result.stdout.decode(errors="replace").strip().splitlines()[-5:])
        raise KernelTestError(f"{' '.join(map(str, command))} failed: {tail}")

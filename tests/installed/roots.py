"""install.sh in root file systems of the boards' systems: `make install-test`.

Needs root, debootstrap, the archive keys of Debian and Ubuntu, qemu-user-static for the roots of
another architecture, and a network. It has not been run so far.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
MIRRORS = {
    "debian": ("http://deb.debian.org/debian", "main"),
    "ubuntu": ("http://archive.ubuntu.com/ubuntu", "main,universe"),
    "ubuntu-ports": ("http://ports.ubuntu.com/ubuntu-ports", "main,universe"),
}
HOST = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
NOT_COMPARED = ("/proc", "/sys", "/dev", "/tmp", "/var/cache", "/root/.cache", "/opt/dvfo")


@dataclass(frozen=True, slots=True)
class Root:
    """A system to try: its archive, release and architecture, and the options that it takes."""

    archive: str
    release: str
    architecture: str
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.release}-{self.architecture}"


ROOTS = (
    Root("debian", "bookworm", "amd64"),
    Root("debian", "bookworm", "arm64"),
    Root("debian", "trixie", "arm64"),
    Root("ubuntu-ports", "jammy", "arm64"),  # as JetPack 6
    Root("ubuntu-ports", "noble", "arm64"),  # as JetPack 7
    Root("ubuntu-ports", "focal", "arm64", ("--standalone",)),  # as JetPack 5
    Root("ubuntu-ports", "bionic", "arm64", ("--standalone",)),  # as JetPack 4: glibc 2.27
    Root("ubuntu", "bionic", "amd64", ("--standalone",)),
)


class FailedError(Exception):
    """A root in which the script does not do what it has to."""


def make(root: Root, folder: Path) -> None:
    """Fill a folder with a system and this checkout's last commit."""
    mirror, components = MIRRORS[root.archive]
    wanted = "python3,python3-venv,ca-certificates"
    options = ("--variant=minbase", f"--arch={root.architecture}", f"--components={components}")
    emulated = ("--foreign",) if root.architecture != HOST else ()
    command = ("debootstrap", *options, *emulated, f"--include={wanted}")
    subprocess.run([*command, root.release, folder, mirror], check=True)
    if emulated:
        emulator = shutil.which("qemu-aarch64-static")
        if emulator is None:
            raise FailedError("qemu-aarch64-static is not here; install qemu-user-static")
        shutil.copy(emulator, folder / "usr/bin")
        subprocess.run(["chroot", folder, "/debootstrap/debootstrap", "--second-stage"], check=True)
    shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
    checkout = folder / "opt/dvfo"
    checkout.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", "HEAD"], cwd=REPOSITORY, capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", checkout], input=archive.stdout, check=True)


def inside(folder: Path, environ: Mapping[str, str], *command: str, status: int = 0) -> str:
    """Run a command in the checkout of a root; returns what it printed."""
    words = ["chroot", folder, "/bin/sh", "-c", 'cd /opt/dvfo && exec "$@"', "sh", *command]
    result = subprocess.run(words, env=dict(environ), capture_output=True, text=True, check=False)
    print(result.stdout, result.stderr, sep="", end="", flush=True)
    if result.returncode != status:
        raise FailedError(f"{' '.join(command)} ended with {result.returncode}, not {status}")
    return result.stdout


def files(folder: Path) -> set[str]:
    """Everything that a root holds, but for caches and the checkout."""
    found = (str(path).removeprefix(str(folder)) for path in folder.rglob("*"))
    return {n for n in found if not n.startswith(NOT_COMPARED) and "__pycache__" not in n}


def expect(found: bool, what: str) -> None:
    """Go on only if something was found."""
    if not found:
        raise FailedError(what)


def check(root: Root, folder: Path, environ: Mapping[str, str]) -> None:
    """Install twice, look at what is there, and take it away."""
    before = files(folder)
    if root.options:
        inside(folder, environ, "./install.sh", status=2)  # names the option that is needed
    inside(folder, environ, "./install.sh", *root.options)
    python = ".venv/bin/python"
    doctor = inside(folder, environ, python, "-m", "hw.doctor")
    expect("onnxruntime" in doctor, "the doctor names no ONNX Runtime")
    inside(folder, environ, python, "deploy.py", "--help")
    again = inside(folder, environ, "./install.sh", *root.options)
    expect("packages: as they are" in again, "the second run installed again")
    inside(folder, environ, "./install.sh", "--service", "--run /x", status=2)  # no systemd there
    inside(folder, environ, "./install.sh", "--uninstall")
    expect(files(folder) == before, f"left behind: {sorted(files(folder) ^ before)[:10]}")


def index() -> dict[str, str]:
    """The package index that pip uses here, for the roots."""
    result = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {"PIP_INDEX_URL": result.stdout.strip()} if result.returncode == 0 else {}


def main() -> int:
    """Try all roots, or those that are named; 1 if one fails."""
    parser = argparse.ArgumentParser("python -m tests.installed.roots", description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(root.name for root in ROOTS))
    names = parser.parse_args().names
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        print("error: needs root and debootstrap; run it with sudo", file=sys.stderr)
        return 2
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **index()}
    environ |= {name: value for name, value in os.environ.items() if name.endswith("_proxy")}
    failed = []
    for root in ROOTS:
        if names and root.name not in names:
            continue
        with tempfile.TemporaryDirectory(prefix=f"{root.name}-") as folder:
            try:
                make(root, Path(folder))
                check(root, Path(folder), environ)
            except (FailedError, OSError, subprocess.CalledProcessError) as error:
                failed.append(f"{root.name}: {error}")
    print("\n".join(failed) or "all pass")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

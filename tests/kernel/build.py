"""Takes Debian's packages apart and makes what QEMU boots: kernel, drivers, ACPI table."""

from __future__ import annotations

import lzma
import os
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.kernel.packages import Kernel, deb_of, run, unpack

HERE = Path(__file__).resolve().parent

# Debian's modules that are loaded (see `init`), and what those need.
DEBIAN_MODULES = (
    *("virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"),
    *("netfs", "fscache", "9pnet", "9pnet_virtio", "9p", "qemu_fw_cfg"),
    *("acpi-cpufreq", "cpufreq_conservative", "cpufreq_ondemand", "cpufreq_powersave"),
    *("cpufreq_userspace", "governor_simpleondemand", "i2c-dev", "i2c-stub"),
)

# Drivers that Debian does not build; its source package has them.
KERNEL_SOURCES = (
    "drivers/devfreq/governor.h",
    "drivers/devfreq/governor_performance.c",
    "drivers/devfreq/governor_userspace.c",
    "drivers/hwmon/ina2xx.c",
    "drivers/hwmon/ina3221.c",
)


@dataclass(frozen=True, slots=True)
class BootFiles:
    """What QEMU is given."""

    kernel: Path
    initramfs: Path
    ssdt: Path

    @classmethod
    def of(cls, folder: Path) -> BootFiles:
        """Name the files in a folder."""
        return cls(folder / "vmlinux", folder / "initramfs", folder / "ssdt.aml")


def build(kernel: Kernel, debs: Path, out: BootFiles) -> None:
    """Make the files from downloaded packages.

    Args:
        kernel: version to boot.
        debs: folder of the packages.
        out: files to write.
    """
    image, *headers, source, acpica, busybox = (deb_of(name, debs) for name in kernel.packages)
    with tempfile.TemporaryDirectory(prefix="kernel-test-") as name:
        work = Path(name)
        root = work / "root"
        unpack(image, root, "./boot/vmlinuz-*", *(f"*/{name}.ko" for name in DEBIAN_MODULES))
        unpack(acpica, root)
        unpack(busybox, root)
        for package in headers:
            unpack(package, work)
        unpack(source, work, "*/linux-source-*.tar.xz")

        out.kernel.write_bytes(_vmlinux((root / f"boot/vmlinuz-{kernel.release}").read_bytes()))
        run(root / "usr/bin/iasl", "-p", out.ssdt, HERE / "ssdt.asl")
        modules = _compile_modules(kernel, work)
        _pack_initramfs(kernel, root, modules, out.initramfs)


def _vmlinux(bzimage: bytes) -> bytes:
    """Take the ELF kernel out of its compressed form, which an emulated machine unpacks slowly.

    The offsets are those of the kernel's Documentation/x86/boot.rst.
    """
    setup_sects = bzimage[0x1F1]
    payload_offset, payload_length = struct.unpack_from("<II", bzimage, 0x248)
    start = (setup_sects + 1) * 512 + payload_offset
    # The size follows the compressed data, as a decompressor of a single stream allows.
    return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(bzimage[start : start + payload_length])


def _compile_modules(kernel: Kernel, work: Path) -> list[Path]:
    sources = work / "modules"
    shutil.copytree(HERE / "modules", sources)
    folder = f"linux-source-{kernel.series}"
    # tar stops after the last of these files and leaves xz, halfway, without a reader.
    with subprocess.Popen(
        ("xz", "-dc", "-T0", str(work / f"usr/src/{folder}.tar.xz")),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as archive:
        files = [f"{folder}/{name}" for name in KERNEL_SOURCES]
        flat = ("--occurrence=1", "--transform=s,.*/,,")
        run("tar", "--extract", "--directory", sources, *flat, *files, stdin=archive.stdout)

    headers = work / f"usr/src/linux-headers-{kernel.release}"
    common = headers.with_name(headers.name.removesuffix("-amd64") + "-common")
    (headers / "Makefile").write_text(f"include {common}/Makefile\n", encoding="utf-8")
    # Options of a make that this runs under are not for the kernel's.
    make = ("make", f"-j{os.cpu_count()}", "-C", headers, f"M={sources}", "modules")
    run(*make, environment={"MAKEFLAGS": ""})
    return sorted(sources.glob("*.ko"))


def _pack_initramfs(kernel: Kernel, root: Path, modules: list[Path], out: Path) -> None:
    busybox = root / "bin/busybox"
    tree = root.with_name("initramfs")
    (tree / "bin").mkdir(parents=True)
    shutil.copy(busybox, tree / "bin")
    shutil.copy(HERE / "init", tree)
    (tree / "init").chmod(0o755)
    shutil.copytree(root / "lib/modules", tree / "lib/modules")
    for module in modules:
        shutil.copy(module, tree / f"lib/modules/{kernel.release}")
    run(busybox, "depmod", "-b", tree, kernel.release)
    files = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    run(busybox, "cpio", "-o", "-H", "newc", "-F", out, cwd=tree, input_text=files)

"""One boot of the machine in QEMU, emulated without KVM."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.kernel.build import BootFiles
from tests.kernel.errors import KernelTestError

# `init` writes 16 + exit status to isa-debug-exit, and QEMU exits with 2 * that + 1.
FIRST_STATUS, GUEST_FAILED = 16, 127

# acpi-cpufreq does not take QEMU's own AMD family. In two sockets each processor is a package of
# its own, and its cooling device caps only its own clock.
MACHINE = ("-machine", "pc", "-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-m", "1024")
PROCESSORS = ("-smp", "2,sockets=2")
# The kernel logs to ttyS1. Workarounds for processor bugs only cost time here.
CMDLINE = "console=ttyS1,115200 panic=-1 mitigations=off nokaslr tsc=reliable"


def qemu_command(
    boot: BootFiles, job: str, paths: list[Path], log: Path, *, interactive: bool = False
) -> list[str]:
    """Build the command line.

    Args:
        boot: what to boot.
        job: shell script that runs in the guest as root, in the host's file system.
        paths: folders that the job needs, wherever they are.
        log: where the kernel's log goes.
        interactive: whether the job reads the terminal, Ctrl-C included.
    """
    signals = "off" if interactive else "on"
    listed = "".join(f"{path}\n" for path in paths)
    return [
        "qemu-system-x86_64",
        *MACHINE,
        *PROCESSORS,
        *("-display", "none", "-vga", "none", "-nic", "none", "-nodefaults", "-no-reboot"),
        *("-kernel", str(boot.kernel), "-initrd", str(boot.initramfs), "-append", CMDLINE),
        *("-acpitable", f"file={_escaped(boot.ssdt)}"),
        *("-chardev", f"stdio,id=job,signal={signals}", "-serial", "chardev:job"),
        *("-chardev", f"file,id=log,path={_escaped(log)}", "-serial", "chardev:log"),
        # Holds the processors' P-state registers (ssdt.asl).
        *("-device", "pc-testdev"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=1"),
        *("-fw_cfg", f"name=opt/dvfo/job,string={_escaped(job)}"),
        *("-fw_cfg", f"name=opt/dvfo/paths,string={_escaped(listed)}"),
        "-virtfs",
        "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
    ]


def run_job(command: list[str], *, limit_s: float | None) -> int:
    """Boot, run the job with its output on ours, and return its exit status.

    Args:
        command: from `qemu_command`.
        limit_s: longest time it may take, s; without one, the job also gets our standard input.

    Raises:
        KernelTestError: the machine did not get to the end of the job.
    """
    keyboard = None if limit_s is None else subprocess.DEVNULL
    with subprocess.Popen(command, stdin=keyboard) as qemu:
        try:
            code = qemu.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise KernelTestError(
                f"the machine was not done after {limit_s:.0f} s; give it longer with --limit"
            ) from None
        finally:
            qemu.kill()
    if code % 2 == 1 and FIRST_STATUS <= code // 2 < GUEST_FAILED:
        return code // 2 - FIRST_STATUS
    raise KernelTestError(
        f"the machine did not get to the end of its job; QEMU's exit status was {code}"
    )


def _escaped(value: Path | str) -> str:
    """Write a value as QEMU's options want it."""
    return str(value).replace(",", ",,")

"""What a machine says about itself, and programs that run on it."""

from __future__ import annotations

from collections.abc import Sequence

from tests.hw.fake.attribute import Text
from tests.hw.fake.kernel import FakeKernel

BOOT_ID = "proc/sys/kernel/random/boot_id"
DEVICE_TREE = "sys/firmware/devicetree/base"

DAEMONS = {
    "tuned": ("/usr/bin/python3", "-Es", "/usr/sbin/tuned", "-l", "-P"),
    # TLP runs and ends; its profile daemon stays.
    "tlp-pd": ("/usr/bin/python3", "/usr/sbin/tlp-pd"),
    "auto-cpufreq": (
        "/opt/auto-cpufreq/venv/bin/python",
        "/usr/local/bin/auto-cpufreq",
        "--daemon",
    ),
    "power-profiles-daemon": ("/usr/libexec/power-profiles-daemon",),
    "thermald": ("/usr/sbin/thermald", "--systemd", "--dbus-enable", "--adaptive"),
    "jtop": ("/usr/bin/python3", "/usr/local/bin/jtop", "--force"),
}
"""Command lines of programs that set clocks or profiles, by name."""
_COMM_LENGTH = 15  # TASK_COMM_LEN without its zero


def describe_machine(kernel: FakeKernel, release: str, cpu_model: str = "ARMv8 Processor") -> None:
    """The files that every machine has."""
    kernel.add(
        {
            BOOT_ID: "8c3ae2b0-3f5a-4a86-9f3c-0d4f6f1e7a55",
            "proc/sys/kernel/osrelease": release,
            "proc/version": f"Linux version {release} (fake)",
            "proc/cpuinfo": f"processor\t: 0\nmodel name\t: {cpu_model}",
        }
    )
    start_program(kernel, ("/sbin/init",), pid=1)


def describe_device_tree(kernel: FakeKernel, model: str, compatible: Sequence[str]) -> None:
    """Model and compatible strings, each ended by a zero and without a line end."""
    kernel.add(
        {
            "model": Text(model, end="\0"),
            "compatible": Text("\0".join(compatible), end="\0"),
        },
        DEVICE_TREE,
    )
    kernel.link("proc/device-tree", DEVICE_TREE)


def describe_pc(kernel: FakeKernel, vendor: str, product: str) -> None:
    """What the firmware of a PC says."""
    kernel.add({"sys_vendor": vendor, "product_name": product}, "sys/class/dmi/id")


def start_program(kernel: FakeKernel, command_line: Sequence[str], pid: int = 0) -> int:
    """Show a running process; a script is named after itself, not after its interpreter."""
    pid = pid or 1 + max(int(path.rpartition("/")[2]) for path in kernel.glob("proc/[0-9]*"))
    script = next((word for word in command_line[1:] if word.startswith("/")), command_line[0])
    kernel.add(
        {
            "comm": script.rpartition("/")[2][:_COMM_LENGTH],
            "cmdline": Text("\0".join(command_line), end="\0"),
        },
        f"proc/{pid}",
    )
    return pid


def start_daemon(kernel: FakeKernel, name: str) -> int:
    """Show one of the daemons that fight over clocks as running; return its process."""
    if name == "tlp":
        kernel.add({"run/tlp/last_pwr": "0"})  # what `tlp start` leaves
        name = "tlp-pd"
    return start_program(kernel, DAEMONS[name])


def stop_program(kernel: FakeKernel, pid: int) -> None:
    """Let a process end."""
    kernel.remove(f"proc/{pid}")

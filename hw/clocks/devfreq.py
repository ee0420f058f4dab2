"""GPU, NPU and memory clocks by the kernel's devfreq class.

Source: Documentation/ABI/testing/sysfs-class-devfreq. Nodes are told apart by the device tree's
name of their device, or by the node's own; both differ between boards and releases.
"""

from __future__ import annotations

from pathlib import Path

from hw.clocks.context import ClockContext
from hw.clocks.limits_domain import LimitFiles, LimitsDomain
from hw.errors import UnsupportedError
from hw.roles import role_in
from hw.sysfs import Sysfs

DEVFREQ = "sys/class/devfreq"


def devfreq_domains(context: ClockContext) -> dict[str, LimitsDomain]:
    """Find all clocks whose role is known: "gpu", "npu", "emc"; several of one role by name."""
    by_role: dict[str, list[Path]] = {}
    for folder in context.sysfs.glob(f"{DEVFREQ}/*"):
        with context.leaving_out(folder.name):
            role = devfreq_role(context.sysfs, folder)
            if role is not None:
                by_role.setdefault(role, []).append(folder)
    domains = {}
    for role, folders in by_role.items():
        for folder in folders:
            # Thor has gpu-gpc-0 and gpu-nvd-0.
            name = role if len(folders) == 1 else folder.name
            with context.leaving_out(name):
                domains[name] = _domain(context, folder, name)
    return domains


def devfreq_role(sysfs: Sysfs, folder: Path) -> str | None:
    """What a devfreq node drives: "gpu", "npu", "emc", or None for anything else."""
    node = folder / "device" / "of_node" / "name"
    names = [folder.name]
    if sysfs.exists(node):
        names.insert(0, sysfs.read_text(node))
    return next((role for name in names if (role := role_in(name)) is not None), None)


def _domain(context: ClockContext, folder: Path, name: str) -> LimitsDomain:
    device = folder / "device"
    gates = ((device / "power" / "control", "on"), (device / "railgate_enable", "0"))
    files = LimitFiles(
        minimum=folder / "min_freq",
        maximum=folder / "max_freq",
        current=folder / "cur_freq",
        governor=folder / "governor",
        governors=folder / "available_governors",
        target=folder / "userspace" / "set_freq",
        unit_hz=1,
        kept_awake=tuple(gate for gate in gates if context.sysfs.exists(gate[0])),
    )
    table = folder / "available_frequencies"
    available_hz = tuple(sorted(set(context.sysfs.read_ints(table))))
    if not available_hz or available_hz[0] <= 0:
        raise UnsupportedError(f"{table} lists no frequency; check the devfreq driver")
    return LimitsDomain(name, files, available_hz, context)

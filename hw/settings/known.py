"""Files that a journal may name: those that setting a clock writes, and no others.

A user who may write the journal's folder could otherwise make root write any file below /sys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from hw.errors import JournalError
from hw.sysfs import Sysfs

_POLICY = r"sys/devices/system/cpu/cpufreq/policy\d+"
_DEVFREQ = r"sys/class/devfreq/[\w.:@,-]+"
_EMC = r"sys/kernel/debug/bpmp/debug/clk/emc"
_EMC_CAPS = ("sys/kernel/nvpmodel_clk_cap/emc", "sys/kernel/nvpmodel_emc_cap/emc_iso_cap")
_FILES = {
    "limits": (rf"{_POLICY}/scaling_(?:min|max)_freq", rf"{_DEVFREQ}/(?:min|max)_freq"),
    "attribute": (
        rf"{_POLICY}/scaling_governor",
        rf"{_DEVFREQ}/(?:governor|device/power/control|device/railgate_enable)",
        rf"{_EMC}/(?:rate|mrq_rate_locked|state)",
        r"sys/kernel/debug/clk/override\.emc/clk_(?:update_rate|rate|state)",
        *map(re.escape, _EMC_CAPS),
    ),
}


def known_file(sysfs: Sysfs, kind: str, name: str) -> Path:
    """The file that a journal names, if a setting of that kind may write it.

    Args:
        sysfs: access to the kernel's files.
        kind: of the setting.
        name: from the root, without a slash in front.

    Raises:
        JournalError: it may not.
    """
    if ".." in name.split("/") or not any(re.fullmatch(p, name) for p in _FILES[kind]):
        raise JournalError(
            f"{name!r} is no file that a clock is set by and is not written; check the journal"
        )
    return sysfs.path(name)


def is_emc_cap(files: Iterable[Path]) -> bool:
    """Whether files are the power mode's cap of the memory clock."""
    return any(str(file).endswith(_EMC_CAPS) for file in files)

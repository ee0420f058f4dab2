"""Conflicting programs that set clocks too: found by their processes and by their settings."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from hw.clocks.devfreq import DEVFREQ, devfreq_role
from hw.errors import HardwareError
from hw.sysfs import Sysfs


@dataclass(frozen=True, slots=True)
class ConflictingProgram:
    """A program that sets clocks.

    Attributes:
        name: of the program.
        remedy: command that stops it.
        evidence: file that gives it away, relative to the root.
    """

    name: str
    remedy: str
    evidence: str = ""


_DAEMONS = (
    # Names of a process' program or script; its own name is cut to 15 characters, or "python3".
    (("tuned",), ConflictingProgram("TuneD", "sudo systemctl stop tuned")),
    (("auto-cpufreq",), ConflictingProgram("auto-cpufreq", "sudo systemctl stop auto-cpufreq")),
    (
        ("power-profiles-daemon",),
        ConflictingProgram("power-profiles-daemon", "sudo systemctl stop power-profiles-daemon"),
    ),
    (("thermald",), ConflictingProgram("thermald", "sudo systemctl stop thermald")),
    (("tlp-pd",), ConflictingProgram("TLP's profile daemon", "sudo systemctl stop tlp-pd")),
    (("tuned-ppd",), ConflictingProgram("tuned-ppd", "sudo systemctl stop tuned-ppd")),
    (
        ("system76-power", "com.system76.PowerDaemon"),
        ConflictingProgram("system76-power", "sudo systemctl stop com.system76.PowerDaemon"),
    ),
    (("gamemoded",), ConflictingProgram("gamemoded", "systemctl --user stop gamemoded")),
    (("cpufreqd",), ConflictingProgram("cpufreqd", "sudo systemctl stop cpufreqd")),
    (
        ("cpupower-gui", "cpupower-gui-helper", "cpupower-gui-user"),
        ConflictingProgram("cpupower-gui", "close it, and sudo systemctl stop cpupower-gui"),
    ),
    (("asusd",), ConflictingProgram("asusd", "sudo systemctl stop asusd")),
    (("tccd",), ConflictingProgram("TUXEDO Control Center", "sudo systemctl stop tccd")),
    (("lact",), ConflictingProgram("LACT", "sudo systemctl stop lactd")),
    (("corectrl", "corectrl_helper"), ConflictingProgram("CoreCtrl", "close it")),
    (
        ("intel-undervolt",),
        ConflictingProgram("intel-undervolt", "sudo systemctl stop intel-undervolt-loop"),
    ),
    (
        ("throttled.py", "lenovo_fix.py"),
        ConflictingProgram("throttled", "sudo systemctl stop throttled"),
    ),
    (("laptop_mode",), ConflictingProgram("laptop-mode-tools", "sudo systemctl stop laptop-mode")),
    (("nvphsd",), ConflictingProgram("NVIDIA's power hints (nvphs)", "sudo systemctl stop nvphs")),
    (("nvpower.sh", "nvpower"), ConflictingProgram("nvpower", "wait until it has finished")),
    (("nvpmodel",), ConflictingProgram("nvpmodel", "wait until it has finished")),
    (("jetson_clocks",), ConflictingProgram("jetson_clocks", "wait until it has finished")),
    (
        ("jtop",),
        ConflictingProgram(
            "jtop (jetson-stats, when a user changes modes or clocks in its window)",
            "leave those pages alone, or sudo systemctl stop jtop",
        ),
    ),
)
PROGRAMS = frozenset(name for names, _ in _DAEMONS for name in names)
_INTERPRETER = re.compile(r"(platform-)?(python|perl|sh|bash|dash)[\d.]*")
_TRACES = (
    # TLP is no daemon: it writes at start and on events, and leaves this.
    ("run/tlp/last_pwr", ConflictingProgram("TLP", "sudo systemctl stop tlp")),
)


JETSON_CLOCKS = ConflictingProgram(
    "jetson_clocks (all clocks are pinned)", "sudo jetson_clocks --restore", "etc/nvpmodel.conf"
)
"""It ends at once; what it leaves is minimum == maximum everywhere."""


def find_conflicts(sysfs: Sysfs) -> list[ConflictingProgram]:
    """Find the programs that run, each once."""
    found: dict[str, ConflictingProgram] = {}
    for folder in sysfs.glob("proc/[0-9]*"):
        words = _program_words(sysfs, folder.name)
        for names, rival in _DAEMONS:
            if any(name in words for name in names):
                evidence = f"proc/{folder.name}/cmdline"
                found[rival.name] = replace(rival, evidence=evidence)
    for trace, rival in _TRACES:
        if sysfs.exists(sysfs.path(trace)):
            found[rival.name] = replace(rival, evidence=trace)
    if _all_pinned(sysfs):
        found[JETSON_CLOCKS.name] = JETSON_CLOCKS
    return sorted(found.values(), key=lambda rival: rival.name)


def _program_words(sysfs: Sysfs, process: str) -> set[str]:
    """File names of a process' program and, if that is an interpreter, of its script."""
    try:
        words = sysfs.read_text(sysfs.path(f"proc/{process}/cmdline")).split("\0")
    except HardwareError:  # it has ended meanwhile
        return set()
    names = [word.rpartition("/")[2] for word in words if not word.startswith("-")]
    return set(names[:2] if names and _INTERPRETER.fullmatch(names[0]) else names[:1])


def _all_pinned(sysfs: Sysfs) -> bool:
    """Whether a Jetson's processors and GPU all have their minimum at their maximum."""
    if not sysfs.exists(sysfs.path(JETSON_CLOCKS.evidence)):
        return False
    pairs = [
        (folder / "scaling_min_freq", folder / "scaling_max_freq")
        for folder in sysfs.glob("sys/devices/system/cpu/cpufreq/policy*")
    ]
    try:
        pairs += [
            (folder / "min_freq", folder / "max_freq")
            for folder in sysfs.glob(f"{DEVFREQ}/*")
            if devfreq_role(sysfs, folder) == "gpu"
        ]
        return bool(pairs) and all(sysfs.read_int(a) == sysfs.read_int(b) for a, b in pairs)
    except HardwareError:  # what is offline or closed shows nothing
        return False

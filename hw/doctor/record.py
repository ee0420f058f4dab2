"""Recording of what the kernel shows of a machine, so that it can be looked at elsewhere.

The tree holds what the doctor reads, and all small files next to it that describe clocks, power and
heat. They lie where the kernel has them, and class entries are links there, as in /sys itself. What
only root may read is only in a tree that root has recorded; NVIDIA's cards have no files and are in
none. Serial numbers, addresses and other people's processes stay out.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hw.boards.conflicts import find_conflicts
from hw.clocks.emc import BPMP_CLOCK, OVERRIDE
from hw.doctor.privacy import PRIVATE_NAME, Secrets, program_alone
from hw.doctor.survey import survey
from hw.doctor.systems import ARMBIAN, RASPBERRY, RELEASE, TEGRA
from hw.doctor.tree import Tree
from hw.errors import HardwareError, UnsupportedError
from hw.sensors.firmware import PI_COMMAND, PI_FILES
from hw.settings.power_mode import PowerModes
from hw.sysfs import COMMANDS, Sysfs

PATTERNS = (
    "sys/devices/system/cpu/cpufreq/policy*/*",
    "sys/devices/system/cpu/cpufreq/boost",
    "sys/devices/system/cpu/*_pstate/*",
    "sys/devices/system/cpu/cpu*/online",
    "sys/class/devfreq/*/*",
    "sys/class/devfreq/*/device/of_node/name",
    "sys/class/devfreq/*/device/railgate_enable",
    "sys/class/devfreq/*/device/power/control",
    "sys/class/hwmon/hwmon*/*",
    "sys/bus/i2c/drivers/ina3221x/*/iio:device*/*",
    "sys/class/thermal/thermal_zone*/*",
    "sys/class/thermal/thermal_zone*/cdev*/type",
    *PI_FILES,
    "sys/class/thermal/cooling_device*/*",
    "sys/class/powercap/*/*",
    "sys/class/power_supply/*/*",
    f"{BPMP_CLOCK}/*",
    f"{OVERRIDE}/*",
    "proc/device-tree/compatible",
    "etc/nvpmodel.conf",
    TEGRA,
    RELEASE,
    ARMBIAN,
    RASPBERRY,
)
ASKED = (("nvpmodel", "-q"), PI_COMMAND)
"""Commands of boards' makers, where they are."""
_BINDING = re.compile(r"/cdev\d+$")
"""Link from a thermal zone to what it slows down."""


class RecordingSysfs(Sysfs):
    """Reads a machine and keeps what it read.

    Args:
        inner: access to the kernel's files.

    Attributes:
        tree: what was read so far, each file as it was first.
    """

    def __init__(self, inner: Sysfs) -> None:
        super().__init__(inner.root)
        self._inner = inner
        self.tree = Tree()

    def run(self, command: Sequence[str]) -> str:
        """Run a command and keep what it prints."""
        output = self._inner.run(command)
        self.tree.files.setdefault(f"{COMMANDS}/{' '.join(command)}", output)
        return output

    def exists(self, path: Path) -> bool:
        """Whether there is such a file, which the tree then has too."""
        if not self._inner.exists(path):
            return False
        self.look(path)
        return True

    def glob(self, pattern: str) -> list[Path]:
        """Paths that match a pattern."""
        return self._inner.glob(pattern)

    def is_writable(self, path: Path) -> bool:
        """Whether this user may write a file."""
        return self._inner.is_writable(path)

    def read_only(self, path: Path) -> str | None:
        """What to do where a file's file system is mounted read-only."""
        return self._inner.read_only(path)

    def real_path(self, path: Path) -> Path:
        """The path with all links followed."""
        return self._inner.real_path(path)

    def close(self) -> None:
        """Close all files."""
        self._inner.close()

    def look(self, path: Path) -> None:
        """Keep a file if it is one and can be read."""
        try:
            text = self._inner._read(path)
        except IsADirectoryError:
            if _BINDING.search(str(path)):
                self._link(path, self._real_name(path))
        except (OSError, UnicodeDecodeError) as error:
            self._refuse(path, error)
        else:
            self._keep(path, text)
        finally:
            self.close()  # a server has more files than a process may hold open

    def _read(self, path: Path) -> str:
        text = self._inner._read(path)
        self._keep(path, text)
        return text

    def _keep(self, path: Path, text: str) -> None:
        """Keep a text under its real name, with a link from the name that was used."""
        real = self._real_name(path)
        if PRIVATE_NAME.search(real):
            return
        if self.tree.files.setdefault(real, text) is text and self._inner.is_writable(path):
            self.tree.writable.add(real)
        self._link(path, real)

    def _refuse(self, path: Path, error: OSError | UnicodeDecodeError) -> None:
        real = self._real_name(path)
        code = error.errno if isinstance(error, OSError) else None
        if code not in (None, errno.ENOENT, errno.ENOTDIR) and not PRIVATE_NAME.search(real):
            self.tree.refused.setdefault(real, code)
            self._link(path, real)

    def _link(self, path: Path, real: str) -> None:
        name = str(path.relative_to(self.root))
        if name != real:
            self.tree.links.setdefault(name, real)

    def _real_name(self, path: Path) -> str:
        return str(self._inner.real_path(path).relative_to(self.root))


def read_tree(sysfs: Sysfs) -> Tree:
    """All files of a machine that describe clocks, power and heat, without what is private."""
    recorder = RecordingSysfs(sysfs)
    survey(recorder)
    for pattern in PATTERNS:
        for path in sysfs.glob(pattern):
            recorder.look(path)
    for path in PowerModes(sysfs).files:  # by the names that nvpmodel has for them
        recorder.look(path)
    for command in ASKED:
        with suppress(HardwareError):  # most boards have neither
            recorder.run(command)
    tree = recorder.tree
    for rival in find_conflicts(sysfs):
        text = sysfs.read_text(sysfs.path(rival.evidence))
        is_process = rival.evidence.startswith("proc/")
        tree.files[rival.evidence] = program_alone(text) if is_process else text
    return Secrets.of(sysfs).without(tree)


def record(sysfs: Sysfs, folder: Path) -> int:
    """Save a machine into a new folder; returns the number of files.

    Raises:
        HardwareError: the folder is not new, or cannot be written.
    """
    if folder.exists():
        raise UnsupportedError(f"{folder} exists already; name a new folder")
    tree = read_tree(sysfs)
    try:
        tree.save(folder)
    except OSError as error:
        raise HardwareError(f"{folder} cannot be written: {error}; name another folder") from None
    return len(tree.files)

"""Energy counters of x86 processors by the kernel's powercap class.

Source: Documentation/power/powercap/powercap.rst. Counters wrap, so that they have to be read more
often than that: a package of 100 W wraps its 262 kJ after 44 minutes.
"""

from __future__ import annotations

from pathlib import Path

from hw.sysfs import Sysfs

ZONES = "sys/class/powercap/intel-rapl:*"


class RaplCounter:
    """One zone: a package, its cores, its memory or the whole platform."""

    step_j = 61e-6
    """Energy unit of 2^-14 J that most processors have; older ones are finer."""
    period_s = 1e-3
    """Renewed about every millisecond (Intel SDM volume 3, 15.10)."""

    def __init__(self, sysfs: Sysfs, folder: Path, name: str) -> None:
        self.name = name
        self._sysfs = sysfs
        self._file = folder / "energy_uj"
        self._range_uj = sysfs.read_int(folder / "max_energy_range_uj")
        self._last_uj: int | None = None
        self._total_uj = 0

    def read_j(self) -> float:
        """Read the energy since the first reading, J."""
        raw_uj = self._sysfs.read_int(self._file)
        if self._last_uj is not None:
            self._total_uj += (raw_uj - self._last_uj) % (self._range_uj + 1)
        self._last_uj = raw_uj
        return self._total_uj * 1e-6


def rapl_counters(sysfs: Sysfs) -> list[RaplCounter]:
    """Find all zones, named "package-0", "package-0.core" and so on.

    Raises:
        PermissionDeniedError: there are some, but this user may not read them.
    """
    counters = []
    for folder in sysfs.glob(ZONES):
        name = sysfs.read_text(folder / "name")
        parent = folder.parent / folder.name.rpartition(":")[0]
        if folder.name.count(":") > 1 and sysfs.exists(parent / "name"):
            name = f"{sysfs.read_text(parent / 'name')}.{name}"
        counters.append(RaplCounter(sysfs, folder, name))
    for counter in counters[:1]:  # all or none
        counter.read_j()
    return counters

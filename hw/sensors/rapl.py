"""Energy counters of x86 processors by the kernel's powercap class.

Source: Documentation/power/powercap/powercap.rst. Counters wrap, so that they have to be read more
often than that: a package of 100 W wraps its 262 kJ after 44 minutes. They also step back now and
then (some AMD processors every few seconds, others after a suspend), which looks like a wrap of
hundreds of kilowatts; so what was used between two readings has to be possible.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from hw.errors import HardwareError, ImplausibleReadingError, PermissionDeniedError
from hw.left_out import Search
from hw.plausible import MOST_W
from hw.sysfs import Sysfs

ZONES = "sys/class/powercap/intel-rapl:*"
PEAK_PER_LIMIT = 2.0
"""Draw above the firmware's highest limit that is believed: limits bound means, not peaks."""
RENEWAL_S = 0.01
"""Time by which a reading may be older than it seems; a counter renews within a millisecond or so,
and its reader may be interrupted."""
_DIE = re.compile(r"(package-\d+)-die-\d+")


class RaplCounter:
    """One zone: a package, its cores, its memory or the whole platform.

    Args:
        sysfs: access to the kernel's files.
        folder: of the zone.
        name: of the rail.
        search: asks for its limits.
        clock: present time, s.
    """

    step_j = 61e-6
    """Energy unit of 2^-14 J that most processors have; older ones are finer."""
    period_s = 1e-3
    """Renewed about every millisecond (Intel SDM volume 3, 15.10)."""

    def __init__(
        self,
        sysfs: Sysfs,
        folder: Path,
        name: str,
        search: Search,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.folder = folder
        self._sysfs = sysfs
        self._clock = clock
        self._file = folder / "energy_uj"
        self._range_uj: int | None = None
        self._most_w = _most_w(sysfs, folder, search)
        self._last: tuple[float, int] | None = None
        self._total_uj = 0

    def read_j(self) -> float:
        """Read the energy since the first reading, J.

        Raises:
            ImplausibleReadingError: it stepped back, or further than any power could bring it; the
                next reading goes on from there.
        """
        asked_s, raw_uj = self._clock(), self.read_uj()
        last, self._last = self._last, (asked_s, raw_uj)
        if last is not None:
            used_uj = (raw_uj - last[1]) % (self._read_range_uj() + 1)
            past_s = self._clock() - last[0] + RENEWAL_S
            if used_uj * 1e-6 > self._most_w * past_s:
                raise ImplausibleReadingError(
                    f"{self._file} went from {last[1]} to {raw_uj} uJ within {past_s:.3g} s, which "
                    f"is no wrap and more than {self._most_w:.0f} W; that energy is not known"
                )
            self._total_uj += used_uj
        return self._total_uj * 1e-6

    def read_uj(self) -> int:
        """Read the counter as the kernel shows it, uJ."""
        raw_uj, highest_uj = self._sysfs.read_int(self._file), self._read_range_uj()
        if not 0 <= raw_uj <= highest_uj:
            raise ImplausibleReadingError(
                f"{self._file} shows {raw_uj} uJ, outside 0 to {highest_uj}; check its driver"
            )
        return raw_uj

    def _read_range_uj(self) -> int:
        if self._range_uj is None:
            self._range_uj = self._sysfs.read_int(self._file.with_name("max_energy_range_uj"))
        return self._range_uj


def rapl_counters(
    sysfs: Sysfs, search: Search | None = None, clock: Callable[[], float] = time.monotonic
) -> list[RaplCounter]:
    """Find all zones, named "package-0", "package-0.core" and so on.

    Dies of a package that show one counter, each under its own name, are found once.

    Args:
        sysfs: access to the kernel's files.
        search: gets the zones that cannot be read.
        clock: present time, s.

    Raises:
        PermissionDeniedError: there are some, but this user may not read them.
    """
    search = search or Search()
    counters: list[RaplCounter] = []
    for folder in sysfs.glob(ZONES):
        with search.leaving_out(nameless=f"zone {folder.name}"):
            name = _zone_name(sysfs, folder, search)
            counters.append(RaplCounter(sysfs, folder, name, search, clock))
    for counter in counters[:1]:  # all or none
        try:
            counter.read_j()
        except PermissionDeniedError:
            search.nameless.append("the processor's counters")
            raise
        except HardwareError:  # for now, perhaps
            continue
    return _without_mirrors(counters, search)


def _zone_name(sysfs: Sysfs, folder: Path, search: Search) -> str:
    name = search.name(sysfs, folder / "name")
    parent = folder.parent / folder.name.rpartition(":")[0]
    if folder.name.count(":") > 1 and sysfs.exists(parent / "name"):
        name = f"{search.name(sysfs, parent / 'name')}.{name}"
    return name


def _most_w(sysfs: Sysfs, folder: Path, search: Search) -> float:
    """The most that a zone draws by the firmware's limits, W; they are 0 where there is none."""
    limits_w = []
    for what in ("max_power_uw", "power_limit_uw"):
        for file in sysfs.glob(f"{ZONES.rpartition('/')[0]}/{folder.name}/constraint_*_{what}"):
            with suppress(HardwareError):
                limits_w.append(search.ask(partial(sysfs.read_int, file)) * 1e-6)
    highest_w = max(limits_w, default=0.0)
    return min(PEAK_PER_LIMIT * highest_w, MOST_W) if highest_w > 0.0 else MOST_W


def _without_mirrors(counters: list[RaplCounter], search: Search) -> list[RaplCounter]:
    """Leave out dies whose counter is that of an earlier die of the same package, and their parts.

    AMD's first processors of several dies have one counter for each package and show it for each
    die. Counters of their own differ by what was used since boot. A die that cannot be compared is
    neither counted nor done without.
    """
    mirrors: set[str] = set()
    dies: dict[str, list[RaplCounter]] = {}
    for counter in counters:
        match = _DIE.fullmatch(counter.name)
        if match is None:
            continue
        earlier = dies.setdefault(match.group(1), [])
        with search.leaving_out(silent=counter.name):
            mirrors.add(counter.name)
            twin = next((d for d in earlier if search.ask(partial(_is_same, d, counter))), None)
            if twin is None:
                mirrors.remove(counter.name)
                earlier.append(counter)
            else:
                search.unread.append(
                    f"{counter.name} shows the counter of {twin.name}; it counts once"
                )
    return [counter for counter in counters if counter.name.partition(".")[0] not in mirrors]


def _is_same(one: RaplCounter, other: RaplCounter) -> bool:
    """Whether a reading of one lies between two of the other."""
    return one.read_uj() <= other.read_uj() <= one.read_uj()

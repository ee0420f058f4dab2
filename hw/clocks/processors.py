"""Online processors (Documentation/core-api/cpu_hotplug.rst)."""

from __future__ import annotations

from functools import lru_cache

from hw.errors import HardwareError
from hw.sysfs import Sysfs

ONLINE = "sys/devices/system/cpu/online"


def online_text(sysfs: Sysfs) -> str:
    """The kernel's list of processors that are online, "0-3,6"; empty if it cannot be read."""
    try:
        return sysfs.read_text(sysfs.path(ONLINE))
    except HardwareError:
        return ""


def online_processors(sysfs: Sysfs) -> frozenset[int]:
    """Numbers of the processors that are online; empty if they cannot be read."""
    return _numbers(online_text(sysfs))


@lru_cache(maxsize=64)  # asked several times in each control step, and hardly ever new
def _numbers(text: str) -> frozenset[int]:
    found: set[int] = set()
    for word in filter(None, text.split(",")):
        first, _, last = word.partition("-")
        try:
            found.update(range(int(first), int(last or first) + 1))
        except ValueError:
            return frozenset()
    return frozenset(found)

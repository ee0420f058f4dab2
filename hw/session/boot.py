"""Identity of a machine's present boot: the kernel forgets its settings when it boots."""

from __future__ import annotations

from dataclasses import dataclass

from hw.errors import HardwareError
from hw.sysfs import Sysfs

BOOT_ID = "proc/sys/kernel/random/boot_id"
SAME_BOOT_S = 5.0
"""Two starts of the kernel lie further apart; setting the clock by less is no other boot."""


@dataclass(frozen=True, slots=True)
class Boot:
    """A boot, by its number and by its time.

    The number is hidden from some services (ProcSubset=pid) and sandboxes. The time then separates
    two boots, but setting the clock by more than `SAME_BOOT_S` looks like a boot.

    Attributes:
        boot_id: the kernel's random number; None where it cannot be read.
        began_s: when the kernel started by the wall clock, s since 1970.
    """

    boot_id: str | None
    began_s: float

    @classmethod
    def of_machine(cls, sysfs: Sysfs) -> Boot:
        """The present boot."""
        try:
            boot_id = sysfs.read_text(sysfs.path(BOOT_ID)) or None
        except HardwareError:
            boot_id = None
        return cls(boot_id, sysfs.boot_time_s())

    def is_same(self, other: Boot) -> bool:
        """Whether both are one boot."""
        if self.boot_id is not None and other.boot_id is not None:
            return self.boot_id == other.boot_id
        return abs(self.began_s - other.began_s) <= SAME_BOOT_S

"""Cooling devices: what the kernel's thermal governors slow down at the moment.

Source: Documentation/driver-api/thermal/sysfs-api.rst. A device says what it cools only by the name
of its type, which differs between kernels and vendors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hw.errors import HardwareError
from hw.roles import DEVFREQ_ROLES, role_in, role_of
from hw.sysfs import Sysfs

COOLING_DEVICES = "sys/class/thermal/cooling_device*"
_PROCESSOR = ("cpu", "processor")
_IDLE = ("powerclamp", "idle")
"""Slow processors down by idling, at an unchanged clock."""
_WHOLE_CHIP = ("balanced", "tegra", "throttle", "emergency")
"""Tegra's devices that slow several clocks at once."""
_NO_CLOCK = (
    *("fan", "pwm", "alert", "tcc", "lcd", "display", "backlight", "video", "charg", "battery"),
    *("iwlwifi", "ath1", "mt7", "wifi", "wlan", "phy", "modem", "nvme", "pcie", "regulator"),
)
"""Blow, dim, charge, send or warn; what the kernel and vendors name so slows no clock. "TCC Offset"
of Intel's sets the point at which the processor throttles and is no state of being throttled."""


@dataclass(frozen=True, slots=True)
class CoolingState:
    """State of one cooling device.

    Attributes:
        name: folder and type.
        state: 0 = off.
        max_state: strongest.
    """

    name: str
    state: int
    max_state: int

    @property
    def kind(self) -> str:
        """The type."""
        return self.name.partition(".")[2]


class CoolingDevices:
    """All cooling devices of a machine.

    Args:
        sysfs: access to the kernel's files.
    """

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self._folders: list[tuple[Path, str]] = []
        for folder in sysfs.glob(COOLING_DEVICES):
            try:
                self._folders.append((folder, sysfs.read_text(folder / "type")))
            except HardwareError:  # went away between the two
                continue

    def states(self) -> list[CoolingState]:
        """Read all states; devices whose driver has none at the moment are left out."""
        found = []
        for folder, kind in self._folders:
            try:
                state = self._sysfs.read_int(folder / "cur_state")
                max_state = self._sysfs.read_int(folder / "max_state")
            except HardwareError:
                continue
            found.append(CoolingState(f"{folder.name}.{kind}", state, max_state))
        return found

    def holds(self, domain: str) -> bool:
        """Whether a device is active that is known to slow a clock domain down."""
        role = role_of(domain)
        return any(state.state > 0 and role in slowed_roles(state.kind) for state in self.states())

    def may_cap(self, domain: str, shown: int, table: Sequence[int]) -> bool:
        """Whether an upper limit that is shown may be a thermal cap.

        A device that is known to cool something else never counts, one of an unknown kind does.
        Where a device has a state for each operating point, its state gives its cap: a limit that
        is lower was chosen by a user or a program.

        Args:
            domain: name of the clock domain.
            shown: the limit, in the unit of the table.
            table: ascending operating points.
        """
        role = role_of(domain)
        for state in self.states():
            kind = state.kind.lower()
            if state.state <= 0 or not slows_a_clock(kind) or any(w in kind for w in _IDLE):
                continue
            roles = slowed_roles(kind)
            if roles and role not in roles:
                continue
            is_by_point = state.max_state + 1 == len(table)
            if not is_by_point or shown == table[-1 - min(state.state, state.max_state)]:
                return True
        return False


def slows_a_clock(kind: str) -> bool:
    """Whether a cooling device of this type slows a clock down; one of an unknown type may."""
    name = kind.lower()
    return not any(word in name for word in _NO_CLOCK)


def slowed_roles(kind: str) -> frozenset[str]:
    """Roles of the clocks that a type of cooling device slows down; empty if it names none."""
    name = kind.lower()
    if not slows_a_clock(name):
        return frozenset()
    if any(word in name for word in _WHOLE_CHIP):
        return frozenset(("cpu", *DEVFREQ_ROLES))
    role = role_in(name)
    if role is not None:
        return frozenset((role,))
    if any(word in name for word in (*_PROCESSOR, *_IDLE)):
        return frozenset(("cpu",))
    # "thermal-devfreq-0": a number says nothing.
    return frozenset(DEVFREQ_ROLES) if "devfreq" in name else frozenset()

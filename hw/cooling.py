"""Cooling devices: what the kernel's thermal governors slow down at the moment.

Source: Documentation/driver-api/thermal/sysfs-api.rst.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hw.errors import HardwareError
from hw.sysfs import Sysfs

COOLING_DEVICES = "sys/class/thermal/cooling_device*"
_WORDS = {
    "cpu": ("cpu", "processor", "intel_powerclamp"),
    "gpu": ("gpu", "devfreq", "mali"),
    "emc": ("emc", "dmc"),
}
_WHOLE_CHIP = ("balanced", "tegra", "throttle", "emergency")
"""Tegra's devices that slow several clocks at once."""


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


class CoolingDevices:
    """All cooling devices of a machine.

    Args:
        sysfs: access to the kernel's files.
    """

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self._folders: list[tuple[Path, str]] = []
        for folder in sysfs.glob(COOLING_DEVICES):
            self._folders.append((folder, sysfs.read_text(folder / "type")))

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
        """Whether a device is active that may hold a clock domain down."""
        words = next((w for prefix, w in _WORDS.items() if domain.startswith(prefix)), ())
        return any(
            state.state > 0 and any(word in state.name.lower() for word in (*words, *_WHOLE_CHIP))
            for state in self.states()
        )

"""Why clocks are lower than asked for, or were, in words."""

from __future__ import annotations

from collections.abc import Sequence

from hw.cooling import CoolingDevices
from hw.errors import HardwareError
from hw.nvml import NvmlCard, clock_reasons
from hw.sysfs import Sysfs

X86_COUNTS = "sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count"
PI_COMMAND = ("vcgencmd", "get_throttled")
_PI_BITS = {
    0: "supply voltage is too low",
    1: "clock is capped",
    2: "slowed down",
    3: "soft temperature limit",
    16: "supply voltage was too low",
    17: "clock was capped",
    18: "was slowed down",
    19: "soft temperature limit was reached",
}
_NVML_BITS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "heat (driver)",
    0x40: "heat (hardware)",
    0x80: "power brake",
}


def throttle_reasons(sysfs: Sysfs, cards: Sequence[NvmlCard] = ()) -> list[str]:
    """Everything that slows the machine down now, or did since it was started."""
    reasons = [
        f"{state.name} at {state.state} of {state.max_state}"
        for state in CoolingDevices(sysfs).states()
        if state.state > 0
    ]
    count = sum(sysfs.read_int(path) for path in sysfs.glob(X86_COUNTS))
    if count:
        reasons.append(f"processor cores were slowed down for heat {count} times since boot")
    try:
        bits = int(sysfs.run(PI_COMMAND).rpartition("=")[2], 16)
    except (HardwareError, ValueError):  # no Raspberry Pi
        bits = 0
    reasons += [f"firmware: {text}" for bit, text in _PI_BITS.items() if bits >> bit & 1]
    for card in cards:
        mask = clock_reasons(card) or 0
        reasons += [f"{card.name}: {text}" for bit, text in _NVML_BITS.items() if mask & bit]
    return reasons

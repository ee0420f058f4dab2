"""Throttling in words: why clocks are lower than asked for, or were."""

from __future__ import annotations

from collections.abc import Sequence

from hw.left_out import leaving_out
from hw.nvidia.card import NvmlCard
from hw.nvidia.nvml import clock_reasons
from hw.sensors.firmware import OVER_CURRENT, PI_BITS, over_current_events, pi_bits
from hw.sysfs import Sysfs
from hw.thermal.cooling import CoolingDevices, slows_a_clock

X86_COUNTS = "sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count"
_NVML_BITS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "heat (driver)",
    0x40: "heat (hardware)",
    0x80: "power brake",
}


def throttle_reasons(
    sysfs: Sysfs, cards: Sequence[NvmlCard] = (), unread: list[str] | None = None
) -> list[str]:
    """Everything that slows the machine down now, or did since it was started.

    Args:
        sysfs: access to the kernel's files.
        cards: NVIDIA cards.
        unread: gets what cannot be read, in words.
    """
    unread = [] if unread is None else unread
    reasons = [
        f"{state.name} at {state.state} of {state.max_state}"
        for state in CoolingDevices(sysfs).states()
        if state.state > 0 and slows_a_clock(state.name)
    ]
    count = 0
    for path in sysfs.glob(X86_COUNTS):
        with leaving_out(unread):  # an offline processor has none
            count += sysfs.read_int(path)
    if count:
        reasons.append(f"processor cores were slowed down for heat {count} times since boot")
    bits = pi_bits(sysfs)
    reasons += [f"firmware: {text}" for bit, text in PI_BITS.items() if bits >> bit & 1]
    for number, events in over_current_events(sysfs).items():
        if events:
            what = OVER_CURRENT.get(number, "over-current")
            reasons.append(f"{what} {events} times since boot (oc{number} of soctherm_oc)")
    for card in cards:
        with leaving_out(unread):
            mask = clock_reasons(card) or 0
            reasons += [f"{card.name}: {text}" for bit, text in _NVML_BITS.items() if mask & bit]
    return reasons

"""Clock reductions by a board's firmware, which the kernel does not show.

A Raspberry Pi's firmware lowers the processor's clock for heat or a weak supply while the kernel
goes on showing what it asked for. A Jetson Orin's hardware skips clock pulses when the current is
too high, and counts how often (chip `soctherm_oc`). Sources: vcgencmd's documentation; drivers
rpi-firmware and raspberrypi-hwmon; NVIDIA's Jetson Linux developer guide, "Over-Current Event".
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from hw.errors import HardwareError
from hw.sensors.hwmon import HWMON
from hw.sysfs import Sysfs
from hw.thermal.zones import machine_title

logger = logging.getLogger(__name__)

PI_FILES = (
    "sys/devices/platform/soc*/*firmware/get_throttled",
    "sys/devices/platform/*firmware/get_throttled",
)
"""Of the maker's kernels: the same bits as the command's, without a process; hexadecimal."""
PI_COMMAND = ("vcgencmd", "get_throttled")
PI_CLOCK = ("vcgencmd", "measure_clock", "arm")
PI_CHIP = "rpi_volt"
PI_BITS = {
    0: "supply voltage is too low",
    1: "clock is capped",
    2: "slowed down",
    3: "soft temperature limit",
    16: "supply voltage was too low",
    17: "clock was capped",
    18: "was slowed down",
    19: "soft temperature limit was reached",
}
_PI_SLOW = 0b1110
"""Bits of a clock that is lowered now; a supply that is low now may be about to."""
OVER_CURRENT_CHIP = "soctherm_oc"
OVER_CURRENT = {
    1: "supply voltage too low",
    2: "mean current too high",
    3: "momentary current too high",
}
LOOK_EVERY_S = 5.0
"""A look may start a process, which takes some milliseconds of a small board's processor; heat and
a weak supply last longer."""


def pi_bits(sysfs: Sysfs) -> int:
    """Bits of `vcgencmd get_throttled`; 0 where it is not reported, as on other boards."""
    for pattern in PI_FILES:
        for file in sysfs.glob(pattern):
            with suppress(HardwareError, ValueError):
                return int(sysfs.read_text(file), 16)
    with suppress(HardwareError, ValueError):
        return int(sysfs.run(PI_COMMAND).rpartition("=")[2], 16)
    for file in _files(sysfs, PI_CHIP, "in0_lcrit_alarm"):
        with suppress(HardwareError):
            return int(sysfs.read_int(file) != 0)
    return 0


def over_current_events(sysfs: Sysfs) -> dict[int, int]:
    """How often each of an Orin's over-current alarms has slowed it down since boot."""
    events = {}
    for file in _files(sysfs, OVER_CURRENT_CHIP, "oc*_event_cnt"):
        with suppress(HardwareError, ValueError):
            events[int(file.name[2:].partition("_")[0])] = sysfs.read_int(file)
    return events


def _files(sysfs: Sysfs, chip: str, pattern: str) -> Iterator[Path]:
    """Files of a hwmon chip."""
    for name in sysfs.glob(f"{HWMON}/hwmon*/name"):
        with suppress(HardwareError):
            if sysfs.read_text(name) == chip:
                yield from sysfs.glob(f"{HWMON}/{name.parent.name}/{pattern}")


class FirmwareWatch:
    """Looks now and then whether the firmware slows the board down, and reports when that changes.

    Args:
        sysfs: access to the kernel's files.
        clock: present time, s.
    """

    def __init__(self, sysfs: Sysfs, clock: Callable[[], float]) -> None:
        self._sysfs = sysfs
        self._clock = clock
        self._is_pi = "raspberry pi" in machine_title(sysfs).lower()
        self._events = over_current_events(sysfs)
        self._looked_s: float | None = None
        self._reasons: dict[str, str] = {}
        self._cpu_hz: int | None = None

    def reason(self, domain: str) -> str | None:
        """Why a clock of this name is slower than the kernel shows; None if it is not."""
        if not self._is_pi and not self._events:
            return None
        now_s = self._clock()
        if self._looked_s is None or now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now_s
            self._look()
        return next((r for kind, r in self._reasons.items() if domain.startswith(kind)), None)

    def measured_hz(self, domain: str) -> int | None:
        """Clock that a Pi's firmware has measured while it was slow, Hz; None if it has not."""
        return self._cpu_hz if domain.startswith("cpu") else None

    def _look(self) -> None:
        reasons = self._pi() if self._is_pi else self._over_current()
        for reason in sorted(set(reasons.values()) - set(self._reasons.values())):
            logger.warning("the firmware slows this board down: %s", reason)
        if self._reasons and not reasons:
            logger.warning("the firmware slows this board down no more")
        self._reasons = reasons

    def _pi(self) -> dict[str, str]:
        bits = pi_bits(self._sysfs)
        self._cpu_hz = None
        if not bits & _PI_SLOW:
            return {}
        with suppress(HardwareError):
            measured = re.search(r"=(\d+)", self._sysfs.run(PI_CLOCK))
            self._cpu_hz = int(measured.group(1)) if measured else None
        return {
            "cpu": ", ".join(text for bit, text in PI_BITS.items() if bit < 4 and bits >> bit & 1)
        }

    def _over_current(self) -> dict[str, str]:
        before, self._events = self._events, over_current_events(self._sysfs) or self._events
        grown = [n for n, count in self._events.items() if count > before.get(n, count)]
        reason = ", ".join(
            OVER_CURRENT.get(number, f"over-current alarm {number}") for number in grown
        )
        return dict.fromkeys(("cpu", "gpu"), reason) if grown else {}

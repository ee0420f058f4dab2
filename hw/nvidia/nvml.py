"""NVIDIA cards by NVML (package nvidia-ml-py): clocks, power, energy and temperature.

Locked clock ranges cannot be read back, so that they are only set on request, and what
another program had locked is lost when they are reset.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from hw.base import Applied, Cause, Hold
from hw.errors import (
    FrequencyRejectedError,
    PermissionDeniedError,
    SensorReadError,
    UnsupportedError,
)
from hw.nvidia.card import NvmlCard
from hw.nvidia.locked_range import LOCKED_CLOCKS, LockedRange
from hw.plausible import plausible_c, plausible_w
from hw.settings.settings import Changes

HZ_PER_MHZ = 1_000_000
SETTLE_S = 0.5
COUNTER_PERIOD_S = 0.1
"""The energy counter is renewed every 20 to 100 ms, which differs between cards."""
POLLED_PERIOD_S = 1.0
"""Polled power is a mean over one second since Ampere (but for GA100)."""
_THRESHOLD = "nvmlDeviceGetTemperatureThreshold"
_TEMPERATURE = ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature")
"""The second goes away with CUDA 14."""
_REASONS = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
"""The second is the first's older name."""
THERMAL_REASONS = 0x20 | 0x40
"""Clock event reasons: slowed down by the driver, or by the hardware, for heat."""
IDLE_REASON = 0x1
"""An idle card rests below its locked range."""


class NvmlCounter:
    """Energy since the driver was loaded, mJ."""

    step_j = 1e-3
    period_s = COUNTER_PERIOD_S

    def __init__(self, card: NvmlCard) -> None:
        self.name = card.name
        self._card = card

    def read_j(self) -> float:
        """Read the counter, J."""
        raw_mj = int(self._card.call("nvmlDeviceGetTotalEnergyConsumption"))
        return raw_mj * 1e-3


class NvmlPower:
    """Polled power, mW; read besides the counter, for the two have been seen to differ twofold."""

    step_w = 1e-3
    period_s = POLLED_PERIOD_S

    def __init__(self, card: NvmlCard, name: str) -> None:
        self.name = name
        self._card = card

    def read_w(self) -> float:
        """Read the power, W."""
        raw_mw = int(self._card.call("nvmlDeviceGetPowerUsage"))
        return plausible_w(self.name, raw_mw * 1e-3)


class NvmlZone:
    """Temperature of a card.

    Args:
        card: the card.
        function: that reads it.
    """

    def __init__(self, card: NvmlCard, function: str) -> None:
        self.name = card.name
        self._card = card
        self._function = function
        self.limit_c: float | None = None
        slowdown = card.nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        if card.offers(_THRESHOLD, slowdown):
            self.limit_c = float(card.call(_THRESHOLD, slowdown))

    def read_c(self) -> float:
        """Read the temperature, degrees C."""
        raw_c = self._card.call(self._function, self._card.nvml.NVML_TEMPERATURE_GPU)
        return plausible_c(self.name, float(raw_c))


class NvmlDomain:
    """A clock of a card, bounded by a locked range.

    Args:
        card: the card.
        clock: "graphics" or "mem".
        name: domain name.
        available_hz: ascending operating points, Hz.
        changes: where settings are saved before they are changed.
        hold: CAP locks from the lowest point up, PIN to one point.
        now: present time, s.
    """

    def __init__(
        self,
        card: NvmlCard,
        clock: str,
        name: str,
        available_hz: tuple[int, ...],
        changes: Changes,
        hold: Hold,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.available_hz = available_hz
        self.written_files: tuple[Path, ...] = ()
        self._card, self._hold, self._now = card, hold, now
        self._range = LockedRange(card.uuid, clock, card)
        self._changes = changes
        self._kind = _clock_type(card.nvml, clock)
        self._target_hz: int | None = None
        self._written_s = 0.0

    def read_hz(self) -> int:
        """Read the clock in force, Hz."""
        return int(self._card.call("nvmlDeviceGetClockInfo", self._kind)) * HZ_PER_MHZ

    def request(self, freq_hz: int) -> Applied:
        """Lock the range of the nearest operating point; NVML reports no more than success.

        Raises:
            PermissionDeniedError: this user may not.
            FrequencyRejectedError: the driver refused.
        """
        target_hz = min(self.available_hz, key=lambda hz: abs(hz - freq_hz))
        if not self._changes.knows(self._range):
            self._changes.save(self._range)
        if target_hz != self._target_hz:
            high = target_hz // HZ_PER_MHZ
            low = high if self._hold is Hold.PIN else self.available_hz[0] // HZ_PER_MHZ
            try:
                self._range.lock(low, high)
            except SensorReadError as error:
                raise FrequencyRejectedError(str(error)) from None
            self._target_hz, self._written_s = target_hz, self._now()
        return self.verify() or Applied(target_hz, target_hz)

    def forget(self) -> None:
        """Begin anew: the range has been given up."""
        self._target_hz = None

    def verify(self) -> Applied | None:
        """Compare the clock in force with the range; None if there was no request."""
        if self._target_hz is None:
            return None
        if self._now() - self._written_s < SETTLE_S:
            return Applied(self._target_hz, self._target_hz)
        found_hz = self.read_hz()
        nearest_hz = min(self.available_hz, key=lambda hz: abs(hz - found_hz))
        low_is_fine = self._hold is not Hold.PIN
        if nearest_hz == self._target_hz or (low_is_fine and nearest_hz < self._target_hz):
            return Applied(self._target_hz, self._target_hz)
        reasons = clock_reasons(self._card) or 0
        if reasons & IDLE_REASON and nearest_hz < self._target_hz:
            return Applied(self._target_hz, self._target_hz)
        cause = Cause.THERMAL if reasons & THERMAL_REASONS else Cause.FIRMWARE
        return Applied(self._target_hz, nearest_hz, cause)


def clock_reasons(card: NvmlCard) -> int | None:
    """Bits that say why the clocks are as they are; None where the driver does not report them."""
    function = card.first(_REASONS)
    return None if function is None else int(card.call(function))


def nvml_zones(cards: Sequence[NvmlCard]) -> dict[str, NvmlZone]:
    """Temperatures of the cards that report theirs."""
    zones = {}
    for card in cards:
        function = card.first(_TEMPERATURE, card.nvml.NVML_TEMPERATURE_GPU)
        if function is not None:
            zones[card.name] = NvmlZone(card, function)
    return zones


def nvml_domains(card: NvmlCard, changes: Changes, hold: Hold) -> dict[str, NvmlDomain]:
    """The clocks of a card whose operating points are listed."""
    domains = {}
    for kind, clock in LOCKED_CLOCKS.items():
        name = card.name.replace("nvidia", "gpu") + clock.suffix
        points_hz = _table_hz(card, kind)
        if points_hz:
            domains[name] = NvmlDomain(card, kind, name, points_hz, changes, hold)
    return domains


def _table_hz(card: NvmlCard, clock: str) -> tuple[int, ...]:
    """Operating points; graphics clocks are listed for the fastest memory clock."""
    try:
        memory_mhz = list(card.call("nvmlDeviceGetSupportedMemoryClocks"))
        if clock == "mem":
            mhz = memory_mhz
        else:
            mhz = card.call("nvmlDeviceGetSupportedGraphicsClocks", max(memory_mhz))
    except (UnsupportedError, PermissionDeniedError, SensorReadError):
        return ()
    return tuple(sorted(int(value) * HZ_PER_MHZ for value in set(mhz)))


def _clock_type(nvml: ModuleType, clock: str) -> int:
    return int(nvml.NVML_CLOCK_MEM if clock == "mem" else nvml.NVML_CLOCK_GRAPHICS)

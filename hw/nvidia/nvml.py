"""NVIDIA cards by NVML (package nvidia-ml-py): clocks, power, energy and temperature.

Every call is probed on each card: NVML starts on Jetson boards too, and then refuses nearly
everything. Locked clock ranges cannot be read back, so that they are only set on request, and what
another program had locked is lost when they are reset.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from hw.base import Applied, Cause, Hold
from hw.errors import (
    FrequencyRejectedError,
    PermissionDeniedError,
    SensorReadError,
    UnsupportedError,
)
from hw.plausible import plausible_c, plausible_w
from hw.settings.settings import Changes, Value
from hw.sysfs import Sysfs

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


class NvmlCard:
    """One card.

    Args:
        nvml: the module `pynvml`, started.
        index: of the card.
    """

    def __init__(self, nvml: ModuleType, index: int) -> None:
        self.nvml = nvml
        self.handle = nvml.nvmlDeviceGetHandleByIndex(index)
        self.name = f"nvidia{index}"
        self.title = str(nvml.nvmlDeviceGetName(self.handle))
        self.uuid = str(nvml.nvmlDeviceGetUUID(self.handle))

    def call(self, function: str, *arguments: object) -> Any:
        """Call a function for this card.

        Raises:
            UnsupportedError: the card or the driver lacks it.
            PermissionDeniedError: this user may not.
            SensorReadError: it failed.
        """
        nvml = self.nvml
        if not hasattr(nvml, function):
            raise UnsupportedError(f"nvidia-ml-py lacks {function}; update it")
        try:
            return getattr(nvml, function)(self.handle, *arguments)
        except nvml.NVMLError as error:
            code = getattr(error, "value", None)
            if code in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND):
                raise UnsupportedError(f"{self.title} does not support {function}") from None
            if code == nvml.NVML_ERROR_NO_PERMISSION:
                raise PermissionDeniedError(
                    f"{function} of {self.title} was refused; run as root or with CAP_SYS_ADMIN"
                ) from None
            raise SensorReadError(f"{function} of {self.title} failed: {error}") from None

    def offers(self, function: str, *arguments: object) -> bool:
        """Whether a reading works on this card for this user."""
        try:
            self.call(function, *arguments)
        except (UnsupportedError, PermissionDeniedError, SensorReadError):
            return False
        return True

    def first(self, functions: Sequence[str], *arguments: object) -> str | None:
        """The first of several functions that works on this card; None if none does."""
        return next((name for name in functions if self.offers(name, *arguments)), None)


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
    """Polled power, mW; beside the counter, for the two have been seen to differ twofold."""

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


@dataclass(frozen=True, slots=True)
class _Clock:
    """Which calls drive a clock of a card, and nvidia-smi's option that gives it back."""

    suffix: str
    lock: str
    reset: str
    by_hand: str


_CLOCKS = {
    "graphics": _Clock(
        "", "nvmlDeviceSetGpuLockedClocks", "nvmlDeviceResetGpuLockedClocks", "--reset-gpu-clocks"
    ),
    "mem": _Clock(
        "_mem",
        "nvmlDeviceSetMemoryLockedClocks",
        "nvmlDeviceResetMemoryLockedClocks",
        "--reset-memory-clocks",
    ),
}


class LockedRange:
    """The locked range of one clock of a card; restored by giving it up.

    Args:
        uuid: of the card.
        clock: "graphics" or "mem".
        card: the card, looked up when it is needed if not given.
    """

    kind = "nvml-locked-range"
    files: tuple[Path, ...] = ()

    def __init__(self, uuid: str, clock: str, card: NvmlCard | None = None) -> None:
        self._uuid = uuid
        self._name = clock
        self._clock = _CLOCKS[clock]
        self._card = card
        self.key = f"{uuid}/{clock}"

    def read(self) -> Value:
        """Nothing: NVML does not tell."""
        return ""

    def lock(self, low_mhz: int, high_mhz: int) -> None:
        """Set the range."""
        assert self._card is not None
        self._card.call(self._clock.lock, low_mhz, high_mhz)

    def is_absent(self) -> bool:
        """Whether no card can be reached, as without the driver or nvidia-ml-py."""
        return self._card is None and not nvml_cards()

    def restore(self, value: Value) -> None:
        """Give the range up; nothing where the card was taken out, and its range with it.

        Raises:
            UnsupportedError: no card can be reached.
        """
        cards = [self._card] if self._card is not None else nvml_cards()
        if not cards:
            raise UnsupportedError(
                f"the NVIDIA card {self._uuid} cannot be reached; install nvidia-ml-py and its "
                f"driver, or nvidia-smi -i {self._uuid} {self._clock.by_hand}"
            )
        for card in cards:
            if card.uuid == self._uuid:
                card.call(self._clock.reset)

    @classmethod
    def from_document(cls, _: Sysfs, document: Mapping[str, str]) -> LockedRange:
        """Rebuild it from its description.

        Raises:
            KeyError: it describes no locked range.
        """
        return cls(document["uuid"], document["clock"])

    def document(self) -> dict[str, str]:
        """Describe the card and the clock."""
        return {"kind": self.kind, "uuid": self._uuid, "clock": self._name}


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
        """Lock the range of the nearest operating point; NVML tells no more than success.

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
    """Bits that say why the clocks are as they are; None where the driver does not tell."""
    function = card.first(_REASONS)
    return None if function is None else int(card.call(function))


def nvml_cards(module: ModuleType | None = None) -> list[NvmlCard]:
    """All cards; none where the package or the driver is missing.

    Args:
        module: in place of `pynvml`.
    """
    try:
        nvml = module or importlib.import_module("pynvml")
    except ImportError:
        return []
    try:
        nvml.nvmlInit()
        n_cards = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError:  # no driver, or no card
        return []
    cards = []
    for index in range(n_cards):
        with suppress(nvml.NVMLError):  # one that has dropped off the bus
            cards.append(NvmlCard(nvml, index))
    return cards


def nvml_zones(cards: Sequence[NvmlCard]) -> dict[str, NvmlZone]:
    """Temperatures of the cards that tell theirs."""
    zones = {}
    for card in cards:
        function = card.first(_TEMPERATURE, card.nvml.NVML_TEMPERATURE_GPU)
        if function is not None:
            zones[card.name] = NvmlZone(card, function)
    return zones


def nvml_domains(card: NvmlCard, changes: Changes, hold: Hold) -> dict[str, NvmlDomain]:
    """The clocks of a card whose operating points are listed."""
    domains = {}
    for kind, clock in _CLOCKS.items():
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

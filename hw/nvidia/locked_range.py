"""A clock range that was locked on an NVIDIA card, and giving it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hw.errors import UnsupportedError
from hw.nvidia.card import NvmlCard, nvml_cards
from hw.settings.settings import Value
from hw.sysfs import Sysfs


@dataclass(frozen=True, slots=True)
class _Clock:
    """Which calls drive a clock of a card, and nvidia-smi's option that gives it back."""

    suffix: str
    lock: str
    reset: str
    by_hand: str


LOCKED_CLOCKS = {
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
        self._clock = LOCKED_CLOCKS[clock]
        self._card = card
        self.key = f"{uuid}/{clock}"

    def read(self) -> Value:
        """Nothing: NVML does not report it."""
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

"""NVIDIA cards as NVML (package nvidia-ml-py) shows them: the only caller of its functions.

Every call is probed on each card: NVML starts on Jetson boards too, and then refuses nearly
everything.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

from hw.errors import PermissionDeniedError, SensorReadError, UnsupportedError


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

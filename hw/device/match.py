"""Match of a machine's clocks with those of a device model, and the models that it is like."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from hw.device.file import device_names
from hw.device.model import DeviceModel
from hw.errors import UnsupportedError

ANY_NUMBER = r"\d*"
KINDS = {"cpu": f"cpu{ANY_NUMBER}", "gpu": "gpu", "emc": "emc"}
"""Names that a device's clock may have on a machine."""
LARGEST_DIFFERENCE = 0.2
"""Of the highest clocks; a machine that differs more is another one."""


class MatchedClock(Protocol):
    """What is compared: a domain of an open board, or what a survey found."""

    @property
    def name(self) -> str:
        """Domain name."""

    @property
    def available_hz(self) -> tuple[int, ...]:
        """Ascending operating points, Hz."""


AnyClock = TypeVar("AnyClock", bound=MatchedClock)


def of_kind(kind: str, clocks: Iterable[AnyClock]) -> list[AnyClock]:
    """The clocks that stand for one of a device."""
    return [clock for clock in clocks if re.fullmatch(KINDS[kind], clock.name)]


def match_domains(
    device: DeviceModel, clocks: Sequence[AnyClock]
) -> dict[str, tuple[AnyClock, ...]]:
    """Find a machine's clocks for all that a device model sets.

    Raises:
        UnsupportedError: one is missing, or its highest point is not the device's.
    """
    found = {}
    for kind in device.settable:
        mine = of_kind(kind, clocks)
        if not mine:
            names = ", ".join(clock.name for clock in clocks)
            raise UnsupportedError(
                f"{device.name} sets the clock {kind}, which cannot be set here (found: "
                f"{names or 'none'}); see python -m hw.doctor, or python -m hw.describe for a "
                f"device without it"
            )
        top_hz, here_hz = device.domains[kind].available_hz[-1], _top_hz(mine)
        if abs(here_hz / top_hz - 1.0) > LARGEST_DIFFERENCE:
            raise UnsupportedError(
                f"the {kind} goes up to {here_hz / 1e6:.0f} MHz here, that of {device.name} to "
                f"{top_hz / 1e6:.0f} MHz: this is another device; train for this one (python -m "
                f"hw.doctor names it)"
            )
        found[kind] = tuple(mine)
    return found


def devices_like(clocks: Sequence[MatchedClock], boards: Sequence[str]) -> tuple[str, ...]:
    """Names of the shipped device models whose policies could drive a machine, best first.

    The nearer the highest points of their clocks, the better. A machine whose GPU can be set is
    like no device without one; a machine that no device tree describes (a PC, whose clocks may by
    chance end where those of a board do) is like none of them.

    Args:
        clocks: of the machine.
        boards: what its device tree says it is compatible with; empty without one.
    """
    if not boards:
        return ()
    found = []
    for name in device_names():
        device = DeviceModel.load(name)
        try:
            mine = match_domains(device, clocks)
        except UnsupportedError:
            continue
        if "gpu" in mine or not of_kind("gpu", clocks):
            off = sum(
                abs(math.log(_top_hz(of_this) / device.domains[kind].available_hz[-1]))
                for kind, of_this in mine.items()
            )
            found.append((off / len(mine), name))
    return tuple(name for _, name in sorted(found))


def _top_hz(clocks: Iterable[MatchedClock]) -> int:
    """Of several clusters the fastest counts."""
    return max(clock.available_hz[-1] for clock in clocks)

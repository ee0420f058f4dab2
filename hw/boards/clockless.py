"""This machine where none of its clocks can be set, as in most virtual machines: sensors alone."""

from __future__ import annotations

from collections.abc import Sequence

from hw.boards.linux import LinuxBoard
from hw.clocks.context import ClockContext
from hw.clocks.find import KernelDomain
from hw.nvidia.card import NvmlCard


class ClocklessMachine(LinuxBoard):
    """A `LinuxBoard` that looks for no clock and changes nothing."""

    def _find_domains(
        self, context: ClockContext, cards: Sequence[NvmlCard]
    ) -> dict[str, KernelDomain]:
        return {}

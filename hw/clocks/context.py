"""Common context of all clock domains of a machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hw.base import Hold
from hw.errors import HardwareError, HoldUnsupportedError
from hw.settings.power_mode import PowerModes
from hw.settings.settings import Changes
from hw.sysfs import Sysfs
from hw.thermal.cooling import CoolingDevices


@dataclass(frozen=True, slots=True)
class ClockContext:
    """What all clock domains of a machine share.

    Attributes:
        sysfs: access to the kernel's files.
        changes: where settings are saved before they are changed.
        hold: how clocks are held.
        cooling: shows whether the kernel cools.
        power_modes: shows whether nvpmodel stepped in.
        clock: present time, s.
        sleep: waits for a number of seconds.
        left_out: clocks that cannot be read -> why.
    """

    sysfs: Sysfs
    changes: Changes
    hold: Hold
    cooling: CoolingDevices
    power_modes: PowerModes
    clock: Callable[[], float]
    sleep: Callable[[float], object]
    left_out: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def leaving_out(self, name: str) -> Iterator[None]:
        """Go on without a clock that cannot be read, and remember why."""
        try:
            yield
        except HoldUnsupportedError:  # asked for, not found
            raise
        except HardwareError as error:
            self.left_out[name] = str(error)

    def uncapped(
        self, domain: str, file: Path, shown: int, table: Sequence[int], highest: int
    ) -> int:
        """What an upper limit is without a thermal cap, in the file's unit.

        While a cap is in force the kernel shows the cap, and saving that would make it permanent.
        What was asked for before cannot be read then: it is the power mode's limit, or none.

        Args:
            domain: name of the clock domain.
            file: the limit's.
            shown: what it shows.
            table: ascending operating points.
            highest: what no limit means; with boost more than the last operating point.
        """
        if shown >= highest or not self.cooling.may_cap(domain, shown, table):
            return shown
        limit = self.power_modes.limit(file)
        return highest if limit is None else max(min(limit, highest), shown)

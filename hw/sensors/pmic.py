"""Power of a Raspberry Pi 5 from its power management chip, by the maker's command `vcgencmd`.

The chip measures current and voltage of twelve converters but not of the input. The input is
estimated as 1.1451 times their sum plus 0.5879 W, a fit published for the board; it is modelled to
that extent. Every reading starts a process, which asks the firmware by /dev/vcio: for root and the
group "video" only.
"""

from __future__ import annotations

import re

from hw.errors import SensorReadError
from hw.left_out import Search
from hw.plausible import plausible_w
from hw.sysfs import Sysfs
from hw.thermal.zones import machine_title

COMMAND = ("vcgencmd", "pmic_read_adc")
INPUT_PER_RAIL = 1.1451
INPUT_OFFSET_W = 0.5879
MOST_W = 60.0
"""About twice what the maker's supply gives (27 W)."""
BOARDS = ("Raspberry Pi 5", "Compute Module 5", "Raspberry Pi 500")
_READING = re.compile(r"(\w+)_([AV])\s+(?:current|volt)\(\d+\)=(-?[\d.]+)[AV]")


class PmicPower:
    """The estimated power at the board's input."""

    name = "PMIC_input_estimate"
    step_w = 0.01
    period_s = 0.05

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self._rails: frozenset[str] = frozenset()

    def read_w(self) -> float:
        """Read all converters and estimate the input, W.

        Raises:
            SensorReadError: the command reports no converter, or fewer than it did before.
            ImplausibleReadingError: the board cannot draw that.
        """
        text = self._sysfs.run(COMMAND)
        values: dict[str, dict[str, float]] = {"A": {}, "V": {}}
        for rail, unit, number in _READING.findall(text):
            values[unit][rail] = _number(number)
        if not values["A"]:
            raise SensorReadError(
                f"{' '.join(COMMAND)!r} printed {text[:60]!r} and no converter; join the group "
                "video, or update the firmware"
            )
        missing = (self._rails | values["A"].keys()) - (values["A"].keys() & values["V"].keys())
        if missing:
            raise SensorReadError(
                f"{' '.join(COMMAND)!r} left out {', '.join(sorted(missing))}; try it by hand"
            )
        self._rails = frozenset(values["A"])
        rails_w = [a * values["V"][rail] for rail, a in values["A"].items()]
        return plausible_w(self.name, INPUT_PER_RAIL * sum(rails_w) + INPUT_OFFSET_W, MOST_W)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SensorReadError(
            f"{' '.join(COMMAND)!r} printed {text!r}, which is no number; try it by hand"
        ) from None


def pmic_sensors(sysfs: Sysfs, search: Search | None = None) -> list[PmicPower]:
    """The chip, on the boards that have one."""
    title = machine_title(sysfs, search)
    return [PmicPower(sysfs)] if any(board in title for board in BOARDS) else []

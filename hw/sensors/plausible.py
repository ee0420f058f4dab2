"""Readings that cannot be: refused with a sentence, so that no silent number goes on.

What can be is told by the board where it can (a shunt and its converter, the firmware's limits of a
power domain); what is here is what no machine of this kind exceeds.
"""

from __future__ import annotations

from hw.errors import ImplausibleReadingError

SENSIBLE_C = (-40.0, 150.0)
"""Chips are specified from -40 degrees C, and none computes at 150. Drivers show -256 or -274 for a
sensor that sleeps, and 0 kelvin for a register of zeros."""


def plausible_c(name: str, temperature_c: float) -> float:
    """A temperature, degrees C.

    Raises:
        ImplausibleReadingError: it cannot be that of a chip that runs.
    """
    low_c, high_c = SENSIBLE_C
    if not low_c <= temperature_c <= high_c:
        raise ImplausibleReadingError(
            f"{name} shows {temperature_c:g} C, which no running chip has ({low_c:g} to "
            f"{high_c:g} C); its sensor sleeps or its driver is wrong"
        )
    return temperature_c

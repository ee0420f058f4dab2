"""Plausibility of readings: impossible ones are refused with a sentence.

The limits come from the board where it has them (a shunt and its converter, the firmware's of a
power domain); what stands here is what no machine of this kind exceeds.
"""

from __future__ import annotations

from hw.errors import ImplausibleReadingError

SENSIBLE_C = (-40.0, 150.0)
"""Chips are specified from -40 degrees C, and none computes at 150. Drivers show -256 or -274 for a
sensor that sleeps, and 0 kelvin for a register of zeros."""
MOST_W = 2000.0
"""More than any board, processor or graphics card draws, where no closer bound is reported."""
OFFSET_STEPS = 2
"""Steps by which a monitor's offset may bring an idle rail below zero: 80 uV of an INA3221's 40."""

BOOST_TIMES = 4.0
"""How far above its table a clock may be: processors boost to 2.7 times what they list at most."""


def plausible_hz(name: str, freq_hz: int, highest_hz: int) -> int:
    """A clock or a limit of one, Hz; 0 where there is none.

    Args:
        name: of the file or the clock.
        freq_hz: what it shows, Hz.
        highest_hz: the highest operating point, Hz.

    Raises:
        ImplausibleReadingError: it is negative, or more than boost explains.
    """
    if not 0 <= freq_hz <= BOOST_TIMES * highest_hz:
        raise ImplausibleReadingError(
            f"{name} shows {freq_hz * 1e-6:.6g} MHz, which cannot be (the highest operating point "
            f"is {highest_hz * 1e-6:.0f} MHz); check its driver"
        )
    return freq_hz


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


def plausible_w(name: str, power_w: float, most_w: float = MOST_W, step_w: float = 0.0) -> float:
    """A power, W.

    Args:
        name: of the file or the rail.
        power_w: what it shows, W.
        most_w: the most that its sensor can show or its board can draw, W.
        step_w: smallest difference that the sensor shows, W.

    Raises:
        ImplausibleReadingError: it is negative, or more than that.
    """
    if not -OFFSET_STEPS * step_w <= power_w <= most_w:
        raise ImplausibleReadingError(
            f"{name} shows {power_w:g} W, which cannot be (0 to {most_w:.0f} W); check its driver "
            "and its wiring"
        )
    return power_w

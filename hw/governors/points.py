"""Operating points of a clock, as a governor looks one up."""

from __future__ import annotations

import numpy as np

from hw.device.units import Floats


def at_or_above(points_hz: Floats, wanted_hz: Floats) -> Floats:
    """Lowest operating point that is not below what is wanted; the highest where none is.

    Args:
        points_hz: ascending, shape (k,).
        wanted_hz: of any shape.
    """
    found: Floats = points_hz[np.searchsorted(points_hz[:-1], wanted_hz)]
    return found

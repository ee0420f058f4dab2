"""Intervals of measured shares."""

from __future__ import annotations

import math


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), which stays within 0..1.

    Raises:
        ValueError: `n` is not positive.
    """
    if n < 1:
        raise ValueError(f"{hits} of {n}: an interval needs at least one trial")
    z = 1.959964
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # rounding must not push the share itself out
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))

"""Rule for a request that is finished on the board: whether to raise the clocks for it.

Functions of seconds alone, for numbers and for arrays, as `partition.edge.offload_rule`: the board
and the simulator ask the same one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[Any] | float

_WORTH = 2.0
"""Delays that must be saved: one until the clocks are up, one until they are down again."""


def share_before(held_s: Seconds, top_s: Seconds, delay_s: float) -> npt.NDArray[Any]:
    """Share of the work that is done at the clocks held; 1 where they are better left.

    The rest is done at the top ones, so that all of it takes `in_all` of both times.

    Args:
        held_s: that the work takes at the clocks held.
        top_s: that it takes at the top ones.
        delay_s: until a clock that is asked for is in force.
    """
    share = np.asarray(delay_s / np.maximum(held_s, delay_s + 1e-9))
    saved_s = held_s - in_all(share, held_s, top_s)
    return np.where(saved_s > _WORTH * delay_s, share, np.ones_like(share))


def in_all(share: Seconds, held: Seconds, top: Seconds) -> npt.NDArray[Any]:
    """What work comes to of which a share is done at the clocks held, the rest at the top ones."""
    return np.asarray(share * held + (1.0 - share) * top)

"""Placements of few stages by colour coding (Alon, Yuster and Zwick 1995).

Devices get random colours, fewer than there are devices; a walk that takes no colour twice takes no
device twice, and of colours so few sets have to be told apart that all such walks are searched at
once. With k stages and somewhat more colours a given placement is met in one try of some tens.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from partition.placement.solver.problem import Bools
from partition.placement.solver.reach import Digits, Reach
from partition.placement.solver.threshold import Step, Threshold

_MORE = 1.3
"""Colours per stage."""
MAX_STAGES = 9


class Colours:
    """Draws colours; goes on drawing others from one period to the next.

    Args:
        seed: of the colours.
    """

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)

    def find(
        self,
        threshold: Threshold,
        alive: Bools,
        n_stages: int,
        tries: int,
        in_time: Callable[[], bool],
    ) -> tuple[Step, ...]:
        """A placement, if one was met.

        Args:
            threshold: the period.
            alive: (L + 1, C), where a walk can still get to the end.
            n_stages: that are needed at least.
            tries: colourings.
            in_time: whether to go on.
        """
        choices = threshold.choices
        n_colours = round(_MORE * n_stages) + 1
        for _ in range(tries):
            if not in_time():
                break
            colours = self._rng.integers(n_colours, size=len(choices.counts))
            uses = choices.uses @ np.eye(n_colours, dtype=np.int64)[colours]
            once = np.ones(n_colours, dtype=np.int64)
            reach = Reach(threshold, Digits(uses, once, list(range(n_colours))), alive)
            if reach.ends_reached:
                return reach.walk()
        return ()

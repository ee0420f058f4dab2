"""Large neighbourhood search: shorten a placement's period, one neighbourhood after the other.

Around its slowest stage, and elsewhere at random, the placement is taken apart and put together
within a shorter period, if that can be done (`neighbours.py`). It pays from about a hundred devices
on, where a beam alone stays above the optimum.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from partition.placement.solver.choices import Choices
from partition.placement.solver.neighborhood import Neighbours, Piece
from partition.placement.solver.problem import Bools
from partition.placement.solver.stage_graph import Step, Threshold

_LOOSE = 12
"""Pieces; sets of them are bits of one number, so 512 bytes at a node."""
_UNUSED = 4
"""Of them from devices without a stage; most places are for stages around the slowest."""
_TRIES = 12
"""At one period before a longer one is tried."""


class Improver:
    """Shortens one placement after the other.

    Args:
        choices: what may run a stage.
        period_of: of a placement.
        seed: of what is taken apart.
    """

    def __init__(
        self,
        choices: Choices,
        period_of: Callable[[Choices, tuple[Step, ...]], float],
        seed: int = 0,
    ) -> None:
        self._choices = choices
        self._period_of = period_of
        self._rng = np.random.default_rng(seed)

    def run(
        self, steps: tuple[Step, ...], bound_s: float, in_time: Callable[[], bool]
    ) -> tuple[Step, ...]:
        """The best placement that was found in time, maybe the same one.

        Args:
            steps: where to start.
            bound_s: no placement has a shorter period.
            in_time: whether to go on.
        """
        share = 0.2
        period_s = self._period_of(self._choices, steps)
        while in_time() and share > 1e-5 and period_s > bound_s:
            threshold = Threshold(self._choices, period_s - share * (period_s - bound_s))
            after, _ = threshold.price_to_go(np.zeros(len(self._choices.counts)))
            for _ in range(_TRIES):
                found = self._once(threshold, steps, np.isfinite(after))
                if found or not in_time():
                    break
            if found:
                steps, period_s = found, self._period_of(self._choices, found)
                share = min(1.5 * share, 0.5)
            else:
                share /= 2
        return steps

    def _once(
        self, threshold: Threshold, steps: tuple[Step, ...], alive: Bools
    ) -> tuple[Step, ...]:
        kept, loose = self._take_apart(threshold, steps)
        found = Neighbours(threshold, kept, loose, alive).find(self._rng)
        return found if found and found[-1][2] == threshold.n_blocks else ()

    def _take_apart(
        self, threshold: Threshold, steps: tuple[Step, ...]
    ) -> tuple[list[int], list[Piece]]:
        """Kept choices in order, and loose pieces: the unused, single stages, some in a row."""
        loose = self._unused(steps)
        n, room = len(steps), _LOOSE - len(loose)
        slow = [x for x, (c, i, j) in enumerate(steps) if not threshold.ends(i)[c, j]]
        centre = int(self._rng.choice(slow)) if slow else int(self._rng.integers(n))
        n_windows = int(self._rng.choice([1, 2, 3, room]))
        in_rows = self._rng.random() < 0.3
        taken: set[int] = set()
        length = max(room // n_windows, 1)
        for start in [
            centre - int(self._rng.integers(length)),
            *self._rng.integers(0, n, n_windows),
        ]:
            if not room:
                break
            window = range(max(int(start), 0), min(int(start) + length, n))
            row = [x for x in window if x not in taken][:room]
            if in_rows and taken and row and row[-1] - row[0] == len(row) - 1:
                loose.append(tuple(steps[x][0] for x in row))
                room -= 1
            else:
                loose += [(steps[x][0],) for x in row]
                room -= len(row)
            taken |= set(row)
        return [step[0] for x, step in enumerate(steps) if x not in taken], loose

    def _unused(self, steps: tuple[Step, ...]) -> list[Piece]:
        """Some choices of devices that have no stage; no device twice."""
        choices = self._choices
        spare = choices.counts - choices.uses[[step[0] for step in steps]].sum(axis=0)
        unused: list[Piece] = []
        for c in self._rng.permutation(len(choices)):
            if len(unused) == _UNUSED:
                break
            if (choices.uses[c] <= spare).all():
                spare = spare - choices.uses[c]
                unused.append((int(c),))
        return unused

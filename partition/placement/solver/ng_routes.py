"""Walks that take no device again among four stages in a row.

The cheapest relaxation that refutes much: with few stages hardly any walk goes round in a longer
circle (the ng-routes of vehicle routing, Baldacci et al. 2011, with the last stages as
neighbourhoods). Searched in depth it finds a placement, or that there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from partition.placement.solver.choices import Choices
from partition.placement.solver.problem import Bools
from partition.placement.solver.stage_graph import Step, Threshold

MAX_STAGES = 9
"""With more of them walks go round in longer circles, which this does not rule out."""
MAX_CHOICES = 64
"""A cut takes the cube of this in bytes."""
_State = tuple[int, int, int]
"""The choice of the last stage, of the one before, and of the one before that; C for none."""


class NgRoutes:
    """Everything that such walks reach within a period.

    Args:
        threshold: the period; at most `MAX_CHOICES` choices.
        alive: (L + 1, C), where a walk can still get to the end, bool.
    """

    def __init__(self, threshold: Threshold, alive: Bools) -> None:
        self._threshold, self._alive = threshold, alive
        self._none, self._last = len(threshold.choices), threshold.n_blocks
        # (C + 1, C), whether a choice may follow an earlier one.
        self._fits = np.ones((self._none + 1, self._none), dtype=bool)
        self._fits[:-1] = ~threshold.choices.conflicts()
        self._ended: list[Bools | None] = [None] * (self._last + 1)
        self._begun: list[Bools | None] = [None] * self._last
        self._counters = _Counters(threshold.choices)
        self._budget = 0
        self._dead: set[tuple[int, _State, int]] = set()
        for cut in range(self._last):
            self._leave(cut)

    @property
    def ends_reached(self) -> bool:
        """Whether any walk gets to the network's end; if none, there is no placement."""
        ended = self._ended[self._last]
        return ended is not None and bool(ended[self._threshold.finishes].any())

    @property
    def gave_up(self) -> bool:
        """Whether there may be a placement that `find` did not get to."""
        return self._budget <= 0

    def find(self, budget: int, in_time: Callable[[], bool] = lambda: True) -> tuple[Step, ...]:
        """A placement; nothing if there is none, or it gave up.

        Args:
            budget: states that are looked at before it gives up.
            in_time: whether to go on.
        """
        self._budget, self._in_time = budget, in_time
        ended = self._ended[self._last]
        if ended is None:
            return ()
        finished = ended & self._threshold.finishes[:, None, None]
        for choice, sender, before in np.argwhere(finished).tolist():
            state = (choice, sender, before)
            taken = self._counters.add_all(c for c in state if c != self._none)
            steps = () if taken is None else self._back(self._last, state, taken)
            if steps or self.gave_up:
                return steps
        return ()

    def _leave(self, cut: int) -> None:
        """Let the next stages start at a cut, (C, C + 1, C + 1): choice, sender, the one before."""
        begun = self._begin(cut)
        if begun is None:
            return
        self._begun[cut] = begun
        able = np.asarray(begun.any(axis=(1, 2)))
        ends = self._threshold.ends(cut) & self._alive.T & able[:, None]
        for end in np.flatnonzero(ends.any(axis=0)):
            which = ends[:, end]
            ended = self._ended[end]
            if ended is None:
                ended = self._ended[end] = np.zeros_like(begun)
            ended[which] |= begun[which]

    def _begin(self, cut: int) -> Bools | None:
        n = self._none
        begun = np.zeros((n, n + 1, n + 1), dtype=bool)
        if cut == 0:
            begun[self._threshold.starts, n, n] = True
            return begun
        ended = self._ended[cut]
        if ended is None:
            return None
        # Whether one of those that may have come before a sender and its own fits the receiver.
        some = ended.astype(np.float32) @ self._fits.astype(np.float32) > 0
        some &= self._fits[None] & self._threshold.links[cut][:, None, :]
        begun[:, :n] = some.transpose(2, 0, 1)
        return begun

    def _back(self, end: int, state: _State, taken: int) -> tuple[Step, ...]:
        """The stages up to one that ends here."""
        key = end, state, taken
        if key in self._dead:
            return ()
        choice, sender, before = state
        for cut in range(end):
            begun = self._begun[cut]
            if begun is None or not begun[state] or not self._threshold.ends(cut)[choice, end]:
                continue
            here = (choice, cut, end)
            if cut == 0:
                return (here,)
            ended = self._ended[cut]
            assert ended is not None
            for first in np.flatnonzero(ended[sender, before] & self._fits[:, choice]).tolist():
                more = taken if first == self._none else self._counters.add(taken, first)
                if more is None:
                    continue
                self._budget = self._budget - 1 if self._in_time() else 0
                steps = self._back(cut, (sender, before, first), more) if self._budget > 0 else ()
                if steps:
                    return (*steps, here)
                if self.gave_up:
                    return ()
        self._dead.add(key)
        return ()


class _Counters:
    """How many devices of each class are taken, in one number.

    A counter is set so that one device too many reaches its top bit.
    """

    def __init__(self, choices: Choices) -> None:
        widths = [int(count).bit_length() + 1 for count in choices.counts]
        offsets = [sum(widths[:k]) for k in range(len(widths))]
        tops = [1 << (width - 1) for width in widths]
        self._full = sum(top << offset for top, offset in zip(tops, offsets, strict=True))
        # What a counter shows where nothing is taken.
        first = [top - 1 - int(n) for top, n in zip(tops, choices.counts, strict=True)]
        self.none = sum(shows << offset for shows, offset in zip(first, offsets, strict=True))
        self._adds = [
            sum(int(n) << offset for n, offset in zip(uses, offsets, strict=True))
            for uses in choices.uses
        ]

    def add(self, taken: int, choice: int) -> int | None:
        """With a choice's devices taken too; None where there are too few."""
        more = taken + self._adds[choice]
        return None if more & self._full else more

    def add_all(self, chosen: Iterable[int]) -> int | None:
        """The devices of some choices; None where there are too few."""
        taken: int | None = self.none
        for choice in chosen:
            taken = None if taken is None else self.add(taken, choice)
        return taken

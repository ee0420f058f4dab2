"""Sets of devices that may have been taken when a cut is reached, as the bits of one number.

Whether the blocks up to a cut can be done with choice c last and a set S taken is bit S of one
long integer per (cut, choice). A stage on a choice of class k turns S into S + k: for all sets at
once a shift by 2^k, after those that hold k are masked out. Twins count instead: a class of m has
m + 1 digits. With every class tracked this is an exhaustive search that remembers each (cut,
device, set) it saw; with some it is a relaxation, as a walk may then take an untracked device
twice.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from partition.placement.problem import Bools, Ints
from partition.placement.threshold import Step, Threshold

_MAX_TRIES = 3000


def n_states(counts: Ints, tracked: list[int]) -> int:
    """Sets of tracked devices."""
    states = 1
    for k in tracked:
        states *= int(counts[k]) + 1
    return states


class Digits:
    """Sets of tracked devices as bits, and how a stage changes all of them at once.

    Args:
        uses: (C, classes) devices that a choice takes.
        counts: (classes,) devices that there are.
        tracked: classes that are counted.
    """

    def __init__(self, uses: Ints, counts: Ints, tracked: list[int]) -> None:
        everything = (1 << n_states(counts, tracked)) - 1
        self._shift, self._room = [0] * len(uses), [everything] * len(uses)
        stride = 1
        for k in tracked:
            period = stride * (int(counts[k]) + 1)
            repeated = everything // ((1 << period) - 1)
            for c in np.flatnonzero(uses[:, k]):
                block = (1 << (stride * max(int(counts[k] - uses[c, k]) + 1, 0))) - 1
                self._shift[c] += int(uses[c, k]) * stride
                self._room[c] &= repeated * block
            stride = period

    def add(self, sets: int, choice: int) -> int:
        """The sets with a choice's devices in them too, of those that have room."""
        return (sets & self._room[choice]) << self._shift[choice]

    def without(self, state: int, choice: int) -> int:
        """The set (a bit's position) before a choice joined it; -1: it cannot have joined."""
        before = state - self._shift[choice]
        return before if before >= 0 and self._room[choice] >> before & 1 else -1


class Reach:
    """Everything that can be reached within a period.

    Args:
        threshold: the period.
        tracked: classes that are not taken more often than they are there.
        alive: (L + 1, C), where a walk can still get to the end, bool.
    """

    def __init__(self, threshold: Threshold, tracked: list[int], alive: Bools) -> None:
        self._threshold = threshold
        self._choices = threshold.choices
        self._last = threshold.n_blocks
        self._digits = Digits(self._choices.uses, self._choices.counts, tracked)
        self._ends = self._open_ends(alive)
        self.sets = self._fill()

    @property
    def ends_reached(self) -> bool:
        """Whether any walk gets to the network's end; if none, there is no placement."""
        return any(self.sets[self._last])

    def _open_ends(self, alive: Bools) -> list[list[list[int]]]:
        """Per cut and choice, ends of a stage that something can follow."""
        open_ends = []
        for cut in range(self._last):
            ends = self._threshold.ends(cut) & alive.T
            open_ends.append([np.flatnonzero(row).tolist() for row in ends])
        return open_ends

    def _fill(self) -> list[list[int]]:
        n = len(self._choices)
        sets = [[0] * n for _ in range(self._last + 1)]
        for cut in range(self._last):
            for c, ends in enumerate(self._ends[cut]):
                if ends:
                    entering = self._digits.add(self._entering(sets, cut, c), c)
                    if entering:
                        for end in ends:
                            sets[end][c] |= entering
        return sets

    def _entering(self, sets: list[list[int]], cut: int, choice: int) -> int:
        if cut == 0:
            return int(self._threshold.starts[choice])
        row = sets[cut]
        entering = 0
        for sender in self._threshold.senders[cut][choice]:
            entering |= row[sender]
        return entering

    def walks(self, *, distinct: bool) -> Iterator[tuple[Step, ...]]:
        """Walks from start to end, longest last stages first.

        Args:
            distinct: only those that take no device twice, tracked or not; gives up after a while.
        """
        budget = [_MAX_TRIES]
        for c in range(len(self._choices)):
            for state in bits(self.sets[self._last][c]):
                taken = self._choices.uses[c].copy()
                yield from self._back(self._last, c, state, taken, [], distinct, budget)
                if budget[0] <= 0:
                    return

    def _back(
        self,
        end: int,
        choice: int,
        state: int,
        taken: Ints,
        steps: list[Step],
        distinct: bool,
        budget: list[int],
    ) -> Iterator[tuple[Step, ...]]:
        """Walks whose last stage but `steps` is one of `choice` that ends at `end`."""
        before = self._digits.without(state, choice)
        if before < 0:
            return
        for cut in range(end):
            if end not in self._ends[cut][choice]:
                continue
            here = [(choice, cut, end), *steps]
            if cut == 0:
                if self._threshold.starts[choice] and before == 0:
                    yield tuple(here)
                continue
            for sender in self._threshold.senders[cut][choice]:
                if not self.sets[cut][sender] >> before & 1:
                    continue
                budget[0] -= 1
                if budget[0] <= 0:
                    return
                with_sender = taken + self._choices.uses[sender]
                if not distinct or (with_sender <= self._choices.counts).all():
                    yield from self._back(cut, sender, before, with_sender, here, distinct, budget)


def bits(number: int) -> Iterator[int]:
    """Positions of the bits that are set."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest

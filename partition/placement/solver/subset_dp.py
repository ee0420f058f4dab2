"""Sets of devices that may have been taken when a cut is reached, as the bits of one number.

Whether the blocks up to a cut can be done with choice c last and a set S taken is bit S of one
long integer per (cut, choice). A stage on a choice of class k turns S into S + k: for all sets at
once a shift by 2^k, after those that hold k are masked out. Twins count instead: a class of m has
m + 1 digits. With every class tracked this is an exact dynamic program over subsets; with some it
is a state-space relaxation (Christofides, Mingozzi and Toth 1981), as a walk may then take an
untracked device twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np

from partition.placement.solver.problem import Bools, Ints
from partition.placement.solver.stage_graph import Step, Threshold


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
            count = int(counts[k])
            period = stride * (count + 1)
            repeated = everything // ((1 << period) - 1)
            for c in np.flatnonzero(uses[:, k]):
                used = int(uses[c, k])
                self._shift[c] += used * stride
                n_left = max(count + 1 - used, 0)
                self._room[c] &= repeated * ((1 << (stride * n_left)) - 1)
            stride = period

    def add(self, sets: int, choice: int) -> int:
        """The sets with a choice's devices in them too, of those that have room."""
        return (sets & self._room[choice]) << self._shift[choice]

    def without(self, state: int, choice: int) -> int:
        """The set (a bit's position) that a choice joined to make this one."""
        return state - self._shift[choice]


class Reach:
    """Everything that can be reached within a period.

    Args:
        threshold: the period.
        digits: what is not taken more often than it is there.
        alive: (L + 1, C), where a walk can still get to the end, bool.
        in_time: whether to go on.

    Attributes:
        gave_up: time was up before everything was reached.
    """

    def __init__(
        self,
        threshold: Threshold,
        digits: Digits,
        alive: Bools,
        in_time: Callable[[], bool] = lambda: True,
    ) -> None:
        self._threshold = threshold
        self._in_time = in_time
        self.gave_up = False
        self._last = threshold.n_blocks
        self._digits = digits
        self._ends = self._open_ends(alive)
        self._sets = self._fill()

    @property
    def ends_reached(self) -> bool:
        """Whether any walk gets to the network's end; if none, there is no placement."""
        return any(self._sets[self._last])

    def _open_ends(self, alive: Bools) -> list[list[list[int]]]:
        """Per cut and choice, ends of a stage that something can follow."""
        open_ends = []
        for cut in range(self._last):
            ends = self._threshold.ends(cut) & alive.T
            open_ends.append([np.flatnonzero(row).tolist() for row in ends])
        return open_ends

    def _fill(self) -> list[list[int]]:
        n = len(self._threshold.choices)
        sets = [[0] * n for _ in range(self._last + 1)]
        for cut in range(self._last):
            for c, ends in enumerate(self._ends[cut]):
                if ends:
                    if not self._in_time():
                        self.gave_up = True
                        return sets
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

    def walk(self) -> tuple[Step, ...]:
        """Any walk from start to end; it may take untracked devices twice."""
        for choice in range(len(self._threshold.choices)):
            for state in islice(bits(self._sets[self._last][choice]), 1):
                return self._any(self._last, choice, state)
        return ()

    def _any(self, end: int, choice: int, state: int) -> tuple[Step, ...]:
        before = self._digits.without(state, choice)
        for cut in range(end):  # long stages first
            if end not in self._ends[cut][choice]:
                continue
            here = (choice, cut, end)
            if cut == 0:
                if before == 0 and self._threshold.starts[choice]:
                    return (here,)
                continue
            for sender in self._threshold.senders[cut][choice]:
                if self._sets[cut][sender] >> before & 1:
                    return (*self._any(cut, sender, before), here)
        return ()


def bits(number: int) -> Iterator[int]:
    """Positions of the bits that are set."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest

"""Sets of devices that may have been taken when a cut is reached, as the bits of one number.

Whether the blocks up to a cut can be done with choice c last and a set S taken is bit S of one
long integer per (cut, choice). A stage on a choice of class k turns S into S + k: for all sets at
once a shift by 2^k, after those that hold k are masked out. Twins count instead: a class of m has
m + 1 digits. With every class tracked this is an exhaustive search that remembers each (cut,
device, set) it saw; with some it is a relaxation, as a walk may then take an untracked device
twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np

from partition.placement.solver.choices import Choices
from partition.placement.solver.problem import Bools, Ints
from partition.placement.solver.threshold import Step, Threshold


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
        self.everything = (1 << n_states(counts, tracked)) - 1
        self._shift, self._room = [0] * len(uses), [self.everything] * len(uses)
        self._tracked = [[k for k in tracked if row[k]] for row in uses]
        self._leaving: dict[int, list[int]] = {}
        stride = 1
        for k in tracked:
            count = int(counts[k])
            period = stride * (count + 1)
            repeated = self.everything // ((1 << period) - 1)
            self._leaving[k] = [
                repeated * ((1 << (stride * (count + 1 - n))) - 1) for n in range(count + 1)
            ]
            for c in np.flatnonzero(uses[:, k]):
                used = int(uses[c, k])
                self._shift[c] += used * stride
                self._room[c] &= self._leaving[k][used] if used <= count else 0
            stride = period

    def add(self, sets: int, choice: int) -> int:
        """The sets with a choice's devices in them too, of those that have room."""
        return (sets & self._room[choice]) << self._shift[choice]

    def leaving(self, choice: int, taken: Callable[[int], int]) -> int:
        """The sets that leave what is taken already, a choice's devices among it.

        Args:
            choice: only the classes that it takes are looked at.
            taken: devices of a class.
        """
        sets = self.everything
        for k in self._tracked[choice]:
            sets &= self._leaving[k][taken(k)]
        return sets

    def without(self, state: int, choice: int) -> int:
        """The set (a bit's position) before a choice joined it; -1: it cannot have joined."""
        before = state - self._shift[choice]
        return before if before >= 0 and self._room[choice] >> before & 1 else -1


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
        self.choices = threshold.choices
        self.last = threshold.n_blocks
        self.digits = digits
        self._ends = self._open_ends(alive)
        self._open = [[set(ends) for ends in row] for row in self._ends]
        self._cuts_before: dict[tuple[int, int], list[int]] = {}
        self.sets = self._fill()

    @property
    def ends_reached(self) -> bool:
        """Whether any walk gets to the network's end; if none, there is no placement."""
        return any(self.sets[self.last])

    def _open_ends(self, alive: Bools) -> list[list[list[int]]]:
        """Per cut and choice, ends of a stage that something can follow."""
        open_ends = []
        for cut in range(self.last):
            ends = self._threshold.ends(cut) & alive.T
            open_ends.append([np.flatnonzero(row).tolist() for row in ends])
        return open_ends

    def _fill(self) -> list[list[int]]:
        n = len(self.choices)
        sets = [[0] * n for _ in range(self.last + 1)]
        for cut in range(self.last):
            for c, ends in enumerate(self._ends[cut]):
                if ends:
                    if not self._in_time():
                        self.gave_up = True
                        return sets
                    entering = self.digits.add(self._entering(sets, cut, c), c)
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
        for choice in range(len(self.choices)):
            for state in islice(bits(self.sets[self.last][choice]), 1):
                return self._any(self.last, choice, state)
        return ()

    def _any(self, end: int, choice: int, state: int) -> tuple[Step, ...]:
        before = self.digits.without(state, choice)
        for cut in self.cuts_before(end, choice):
            here = (choice, cut, end)
            if cut == 0:
                if before == 0 and self.starts(choice):
                    return (here,)
                continue
            for sender in self.senders(cut, choice):
                if self.sets[cut][sender] >> before & 1:
                    return (*self._any(cut, sender, before), here)
        return ()

    def cuts_before(self, end: int, choice: int) -> list[int]:
        """Where a stage of a choice that ends at a cut can have started, longest first."""
        key = end, choice
        if key not in self._cuts_before:
            self._cuts_before[key] = [c for c in range(end) if end in self._open[c][choice]]
        return self._cuts_before[key]

    def starts(self, choice: int) -> bool:
        """Whether a choice may have the first stage."""
        return bool(self._threshold.starts[choice])

    def senders(self, cut: int, choice: int) -> list[int]:
        """Whom a choice can get a cut from."""
        return self._threshold.senders[cut][choice]


class Counters:
    """How many devices of each class are taken, in one number.

    A counter is set so that one device too many reaches its top bit.
    """

    def __init__(self, choices: Choices) -> None:
        widths = [int(count).bit_length() + 1 for count in choices.counts]
        self._offsets = [sum(widths[:k]) for k in range(len(widths))]
        tops = [1 << (width - 1) for width in widths]
        self._full = sum(top << offset for top, offset in zip(tops, self._offsets, strict=True))
        # What a counter shows where nothing is taken, and all that it can show.
        self._first = [top - 1 - int(n) for top, n in zip(tops, choices.counts, strict=True)]
        self._most = [top - 1 for top in tops]
        self.none = sum(
            first << offset for first, offset in zip(self._first, self._offsets, strict=True)
        )
        self._adds = [
            sum(int(n) << offset for n, offset in zip(uses, self._offsets, strict=True))
            for uses in choices.uses
        ]

    def of(self, taken: int, k: int) -> int:
        """Devices of a class that are taken."""
        return (taken >> self._offsets[k] & self._most[k]) - self._first[k]

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


class Depth:
    """The same graph searched in depth, from the end, for a walk that takes no device twice.

    What was reached rules out most ways: before a stage there must be a set of tracked devices that
    leaves those taken from there on. States (cut, choice, devices taken from there on) that led
    nowhere are remembered.

    Args:
        reach: what can be reached at all.
        budget: states that are looked at before it gives up.
        in_time: whether to go on.
    """

    def __init__(
        self, reach: Reach, budget: int, in_time: Callable[[], bool] = lambda: True
    ) -> None:
        self._reach, self._digits = reach, reach.digits
        self._budget = budget
        self._in_time = in_time
        self._dead: set[tuple[int, int, int]] = set()
        self._counters = Counters(reach.choices)

    @property
    def gave_up(self) -> bool:
        """Whether there may be a walk that was not found."""
        return self._budget <= 0

    def find(self) -> tuple[Step, ...]:
        """A placement; nothing if there is none, or it gave up."""
        last = self._reach.last
        for choice, sets in enumerate(self._reach.sets[last]):
            taken = self._counters.add(self._counters.none, choice)
            if sets and taken is not None:
                steps = self._back(last, choice, taken, self._digits.everything)
                if steps or self.gave_up:
                    return steps
        return ()

    def _back(self, end: int, choice: int, taken: int, leaving: int) -> tuple[Step, ...]:
        """The stages up to one that ends here.

        Args:
            end: cut.
            choice: of the stage.
            taken: devices of this stage and of those behind it.
            leaving: sets of tracked devices that leave those of the stages behind it.
        """
        key = end, choice, taken
        if key in self._dead:
            return ()
        leaving &= self._digits.leaving(choice, lambda k: self._counters.of(taken, k))
        for cut in self._reach.cuts_before(end, choice):
            here = (choice, cut, end)
            if cut == 0:
                if self._reach.starts(choice):
                    return (here,)
                continue
            row = self._reach.sets[cut]
            for sender in self._reach.senders(cut, choice):
                if not row[sender] & leaving:
                    continue
                more = self._counters.add(taken, sender)
                if more is None:
                    continue
                self._budget = self._budget - 1 if self._in_time() else 0
                steps = self._back(cut, sender, more, leaving) if self._budget > 0 else ()
                if steps:
                    return (*steps, here)
                if self.gave_up:
                    return ()
        self._dead.add(key)
        return ()


def bits(number: int) -> Iterator[int]:
    """Positions of the bits that are set."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest

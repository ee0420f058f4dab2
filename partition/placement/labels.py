"""Every partial placement within a period that prices do not rule out, cut by cut.

All devices together cost 1, so a partial placement leads nowhere once what it has paid and the
least that the rest costs are more. Near the shortest period few are left, and to look at all of
them either finds a placement or proves that there is none: dynamic programming with completion
bounds, as routes are priced (Desaulniers, Desrosiers and Solomon, Column Generation, 2005).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partition.placement.choices import Choices
from partition.placement.cluster import Floats
from partition.placement.problem import Bools, Ints
from partition.placement.threshold import MARGIN, Step, Threshold

Words = NDArray[np.uint64]
_BITS = 64
_CELLS = 1 << 19
"""Partial placements times choices that are looked at in one go."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found out.

    Attributes:
        steps: a placement; empty if there is none, or it was given up.
        complete: nothing was left out.
    """

    steps: tuple[Step, ...]
    complete: bool


class Packed:
    """Which devices are taken, and the last choice, in a few words of 64 bits.

    A class of one device has one bit; a larger one a counter that is set so that one device too
    many reaches its top bit.
    """

    def __init__(self, choices: Choices) -> None:
        """Lay out the words."""
        widths = [1 if n == 1 else int(n).bit_length() + 1 for n in choices.counts]
        places: list[tuple[int, int]] = []
        self._n_choice_bits = len(choices).bit_length()
        word, used = 0, self._n_choice_bits  # the first word begins with the choice
        for width in widths:
            if used + width > _BITS:
                word, used = word + 1, 0
            places.append((word, used))
            used += width
        self.n_words = word + 1
        first, single = [0] * self.n_words, np.zeros((len(choices), self.n_words), np.uint64)
        full, adds = [0] * self.n_words, np.zeros((len(choices), self.n_words), np.uint64)
        for k, (word, offset) in enumerate(places):
            if widths[k] > 1:
                top = 1 << (widths[k] - 1)
                first[word] += (top - 1 - int(choices.counts[k])) << offset
                full[word] += top << offset
            for c in np.flatnonzero(choices.uses[:, k]):
                adds[c, word] += np.uint64(int(choices.uses[c, k]) << offset)
                if widths[k] == 1:
                    single[c, word] |= np.uint64(1 << offset)
        self.none = np.array([first], np.uint64)
        self._full, self._adds, self._single = np.array(full, np.uint64), adds, single

    def free(self, taken: Words) -> Bools:
        """(n, C), whether the devices of each choice are left; taken (n, n_words)."""
        is_free = np.ones((len(taken), len(self._adds)), dtype=bool)
        for word in range(self.n_words):
            column = self._devices(taken[:, word], word)[:, None]
            clash = column & self._single[None, :, word]
            if self._full[word]:
                clash |= (column + self._adds[None, :, word]) & self._full[word]
            is_free &= clash == 0
        return is_free

    def add(self, taken: Words, choice: Ints) -> Words:
        """With the devices of a free choice, and itself as the last one."""
        more = taken.copy()
        more[:, 0] = self._devices(taken[:, 0], 0) | choice.astype(np.uint64)
        more += self._adds[choice]
        return more

    def _devices(self, column: NDArray[np.uint64], word: int) -> NDArray[np.uint64]:
        """A word without the choice."""
        if word:
            return column
        return column >> np.uint64(self._n_choice_bits) << np.uint64(self._n_choice_bits)


@dataclass(frozen=True, slots=True)
class _Labels:
    """N partial placements that end at one cut; all but `taken` of shape (N,)."""

    taken: Words
    """(N, n_words)."""
    choice: Ints
    """Of the last stage."""
    paid: Floats
    start: Ints
    """First cut of the last stage."""
    parent: Ints
    """Row at that cut."""

    def __getitem__(self, rows: slice | Ints) -> _Labels:
        """Some of them."""
        return _Labels(*(getattr(self, name)[rows] for name in self.__slots__))


class LabelSearch:
    """Looks at everything within a period.

    Args:
        threshold: the period.
        prices: (classes,) of a device; all devices together cost 1.
        most: partial placements before it gives up.
        in_time: whether to go on.
    """

    def __init__(
        self,
        threshold: Threshold,
        prices: Floats,
        most: int,
        in_time: Callable[[], bool] = lambda: True,
    ) -> None:
        self._threshold, self._left, self._in_time = threshold, most, in_time
        self._price = threshold.choices.uses @ prices
        self._after, _ = threshold.price_to_go(prices)
        self._packed = Packed(threshold.choices)
        self._last = threshold.n_blocks
        self._waiting: list[list[_Labels]] = [[] for _ in range(self._last + 1)]
        self._kept: list[_Labels | None] = [None] * (self._last + 1)

    def run(self) -> Outcome:
        """A placement, if there is one and it does not give up."""
        nobody = np.zeros(1, np.int64)
        root = _Labels(self._packed.none, nobody, np.zeros(1), nobody, nobody)
        for cut in range(self._last):
            labels = self._keep(cut) if cut else root
            if labels is not None and not self._extend(cut, labels):
                return Outcome((), complete=False)
        done = self._keep(self._last)
        return Outcome(() if done is None else self._trace(), complete=True)

    def _keep(self, cut: int) -> _Labels | None:
        """What reached a cut, each set of devices and last choice once."""
        waiting, self._waiting[cut] = self._waiting[cut], []
        if not waiting:
            return None
        everyone = _Labels(
            *(np.concatenate([getattr(w, name) for w in waiting]) for name in _Labels.__slots__)
        )
        taken = everyone.taken
        if taken.shape[1] == 1:
            _, first = np.unique(taken[:, 0], return_index=True)
        else:
            order = np.lexsort(taken.T)
            is_new = np.ones(len(order), dtype=bool)
            is_new[1:] = (taken[order[1:]] != taken[order[:-1]]).any(axis=1)
            first = order[is_new]
        kept = self._kept[cut] = everyone[first]
        return kept

    def _extend(self, cut: int, labels: _Labels) -> bool:
        """Put the next stage behind each, to wherever it may end; False when it gives up."""
        ends = self._threshold.ends(cut) & np.isfinite(self._after.T)
        open_ends = [
            (int(end), np.flatnonzero(ends[:, end])) for end in np.flatnonzero(ends.any(0))
        ]
        size = max(_CELLS // len(self._price), 1)
        for first in range(0, len(labels.paid), size):
            rows = np.arange(first, min(first + size, len(labels.paid)))
            self._left -= self._extend_some(cut, labels[rows], rows, open_ends)
            if self._left < 0 or not self._in_time():
                return False
        return True

    def _extend_some(
        self, cut: int, labels: _Labels, rows: Ints, open_ends: list[tuple[int, Ints]]
    ) -> int:
        """How many partial placements there are more."""
        links = self._threshold.links[cut][labels.choice] if cut else self._threshold.starts[None]
        open_ = links & self._packed.free(labels.taken)
        paid = np.where(open_, labels.paid[:, None] + self._price, np.inf)
        n = 0
        for end, able in open_ends:
            row, nth = np.nonzero(paid[:, able] + self._after[end, able] <= 1.0 + MARGIN)
            if len(row):
                choice = able[nth]
                taken = self._packed.add(labels.taken[row], choice)
                start = np.full(len(row), cut)
                self._waiting[end].append(
                    _Labels(taken, choice, paid[row, choice], start, rows[row])
                )
                n += len(row)
        return n

    def _trace(self) -> tuple[Step, ...]:
        """The stages of the first one that got to the end."""
        steps: list[Step] = []
        row, cut = 0, self._last
        while cut > 0:
            labels = self._kept[cut]
            assert labels is not None
            start = int(labels.start[row])
            steps.append((int(labels.choice[row]), start, cut))
            row, cut = int(labels.parent[row]), start
        return tuple(reversed(steps))

"""Every partial placement within a period that prices do not rule out, cut by cut.

All devices together cost 1, so a partial placement leads nowhere once what it has paid and the
least that the rest costs are more. Near the shortest period few are left, and to look at all of
them either finds a placement or proves that there is none: label setting with completion bounds,
as routes are priced (Desaulniers, Desrosiers and Solomon, Column Generation, 2005).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partition.placement.cluster import Floats
from partition.placement.solver.choices import Choices
from partition.placement.solver.lagrangian import MARGIN
from partition.placement.solver.problem import Bools, Ints
from partition.placement.solver.stage_graph import Step, Threshold

Words = NDArray[np.uint64]
_BITS = 64
_CELLS = 1 << 19
"""Partial placements times choices that are looked at in one go; their prices take 4 MiB."""


@dataclass(frozen=True, slots=True)
class LabelSearchResult:
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
        # Where no choice takes devices of two words, one word each is looked at.
        touched = adds != 0
        self._word = touched.argmax(axis=1) if (touched.sum(axis=1) == 1).all() else None

    def free(self, taken: Words) -> Bools:
        """(n, C), whether the devices of each choice are left; taken (n, n_words)."""
        devices = taken.copy()
        devices[:, 0] = self._without_choice(taken[:, 0])
        if self._word is not None:
            columns, first = devices[:, self._word], np.arange(len(self._word))
            single, adds = self._single[first, self._word], self._adds[first, self._word]
            clash = columns & single | (columns + adds) & self._full[self._word]
            return np.asarray(clash == 0)
        columns = devices[:, None, :]
        clash = columns & self._single | (columns + self._adds) & self._full
        return np.asarray((clash == 0).all(axis=2))

    def add(self, taken: Words, choice: Ints) -> Words:
        """With the devices of a free choice, and itself as the last one."""
        more = taken.copy()
        more[:, 0] = self._without_choice(taken[:, 0]) | choice.astype(np.uint64)
        more += self._adds[choice]
        return more

    def _without_choice(self, column: NDArray[np.uint64]) -> NDArray[np.uint64]:
        bits = np.uint64(self._n_choice_bits)
        return column >> bits << bits


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
        prices: (classes,) of a device; who pays more than 1 is ruled out.
        most: partial placements before some are left out.
        width: from then on so many are kept at a cut, those that have paid least with what the rest
            costs at least: devices that many stages compete for are dear, so they are spent where
            nothing else will do.
        in_time: whether to go on.
        after: (L + 1, C), what is left costs at least; None: what these prices say.
    """

    def __init__(
        self,
        threshold: Threshold,
        prices: Floats,
        most: int,
        width: int,
        in_time: Callable[[], bool] = lambda: True,
        after: Floats | None = None,
    ) -> None:
        self._threshold, self._in_time = threshold, in_time
        self._left, self._width = most, width
        self._complete = True
        self._price = threshold.choices.uses @ prices
        self._after = threshold.price_to_go(prices)[0] if after is None else after
        self._packed = Packed(threshold.choices)
        self._last = threshold.n_blocks
        self._waiting: list[list[_Labels]] = [[] for _ in range(self._last + 1)]
        self._kept: list[_Labels | None] = [None] * (self._last + 1)

    def run(self) -> LabelSearchResult:
        """A placement, if there is one and it was not left out."""
        nobody = np.zeros(1, np.int64)
        root = _Labels(self._packed.none, nobody, np.zeros(1), nobody, nobody)
        for cut in range(self._last):
            labels = self._keep(cut) if cut else root
            if labels is not None and not self._extend(cut, labels):
                return LabelSearchResult((), complete=False)
        done = self._keep(self._last)
        return LabelSearchResult(() if done is None else self._trace(self._last), self._complete)

    def furthest(self) -> tuple[Step, ...]:
        """After `run`: stages of as many of the first blocks as it got to."""
        return self._trace(max((cut for cut, kept in enumerate(self._kept) if kept), default=0))

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
        if self._left < 0 and len(first) > self._width:
            self._complete = False
            price = everyone.paid[first] + self._after[cut, everyone.choice[first]]
            first = first[np.argpartition(price, self._width)[: self._width]]
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
            if not self._in_time() or (self._left < 0 and not self._width):
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
            price = paid[:, able] + self._after[end, able]
            row, nth = np.nonzero(price <= 1.0 + MARGIN)
            if self._left < 0 and len(row) > self._width > 0:
                best = np.argpartition(price[row, nth], self._width)[: self._width]
                row, nth = row[best], nth[best]
                self._complete = False
            if len(row):
                choice = able[nth]
                taken = self._packed.add(labels.taken[row], choice)
                start = np.full(len(row), cut)
                self._waiting[end].append(
                    _Labels(taken, choice, paid[row, choice], start, rows[row])
                )
                n += len(row)
        return n

    def _trace(self, cut: int) -> tuple[Step, ...]:
        """The stages of the one that got to a cut and paid least."""
        steps: list[Step] = []
        end = self._kept[cut]
        row = 0 if end is None else int(end.paid.argmin())
        while cut > 0:
            labels = self._kept[cut]
            assert labels is not None
            start = int(labels.start[row])
            steps.append((int(labels.choice[row]), start, cut))
            row, cut = int(labels.parent[row]), start
        return tuple(reversed(steps))

"""The graph of stages that keep within a period: what may follow what, and walks through it.

A node is (cut p, choice c): the blocks before p are done and c did the last of them. A walk from
the start to the network's end is a placement if it takes no device twice. Three relaxations let
it: prices on devices (Lagrangian, `prices.py`), sets of which only some devices are remembered
(state-space relaxation, `reach.py`), and the last stages alone (ng-routes, `recent.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from partition.placement.cluster import Floats
from partition.placement.solver.choices import Choices
from partition.placement.solver.problem import Bools, Ints

Step = tuple[int, int, int]
"""Stage: choice, first cut, last cut."""


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A cheapest walk under some prices."""

    price: float
    """inf where there is none."""
    steps: tuple[Step, ...]


class Threshold:
    """What may be within a period.

    Args:
        choices: what may run a stage.
        period_s: the most that a stage or a transfer may take.
    """

    def __init__(self, choices: Choices, period_s: float) -> None:
        self.choices = choices
        self.period_s = period_s
        self.n_blocks = choices.problem.n_blocks
        self._stages = np.asarray(choices.stage_s <= period_s)
        self.starts = np.asarray(choices.entry_s <= period_s)
        self.finishes = np.asarray(choices.exit_s <= period_s)

    @cached_property
    def links(self) -> Bools:
        """(L + 1, C, C): whether a cut's transfer from row to column keeps within the period."""
        cut_bytes = self.choices.problem.cut_bytes
        s_per_byte = self.choices.s_per_byte
        links = np.zeros((self.n_blocks + 1, *s_per_byte.shape), dtype=bool)
        same: dict[int, int] = {}
        linked = np.isfinite(s_per_byte)
        usable = np.where(linked, s_per_byte, 0.0)
        for cut in range(1, self.n_blocks):
            size = int(cut_bytes[cut])
            if size in same:
                links[cut] = links[same[size]]
            else:
                links[cut] = linked & (size * usable <= self.period_s)
                same[size] = cut
        return links

    @cached_property
    def senders(self) -> list[list[list[int]]]:
        """Per cut and choice, whom the choice can receive the cut from; none before the first cut.

        Cuts of a size share their lists. The network's input is no such cut, however large: it
        comes from no choice.
        """
        known: dict[int, list[list[int]]] = {}
        lists: list[list[list[int]]] = [[]]
        for cut in range(1, self.n_blocks):
            size = int(self.choices.problem.cut_bytes[cut])
            if size not in known:
                known[size] = [np.flatnonzero(row).tolist() for row in self.links[cut].T]
            lists.append(known[size])
        return lists

    @cached_property
    def _ends(self) -> Bools:
        return np.ascontiguousarray(self._stages[self.choices.flavour].transpose(1, 0, 2))

    @cached_property
    def _furthest(self) -> Ints:
        """Per cut, the last one where any stage from there may end."""
        able = np.asarray(self._stages.any(axis=0))[: self.n_blocks]
        last = self.n_blocks - able[:, ::-1].argmax(axis=1)
        return np.asarray(np.where(able.any(axis=1), last, 0))

    def ends(self, cut: int) -> Bools:
        """(C, L + 1): where a stage of each choice that starts at a cut may end."""
        return np.asarray(self._ends[cut])

    def stages_to_go(self) -> Floats:
        """(L + 1,) fewest stages from each cut to the end, on whatever devices; inf: none can."""
        ends = np.asarray(self._stages.any(axis=0))
        fewest = np.full(self.n_blocks + 1, np.inf)
        fewest[-1] = 0.0
        for cut in range(self.n_blocks - 1, -1, -1):
            fewest[cut] = 1.0 + fewest[ends[cut]].min(initial=np.inf)
        return fewest

    def price_to_go(self, prices: Floats) -> tuple[Floats, Floats]:
        """Least price of what is left.

        Args:
            prices: (classes,) of a device.

        Returns:
            after: (L + 1, C) of all that follows a stage of c that ended at p.
            before: (L + 1, C) of a stage of c that starts at p, and all that follows.
        """
        price = self.choices.uses @ prices
        n, last = len(self.choices), self.n_blocks
        after = np.full((last + 1, n), np.inf)
        before = np.full((last + 1, n), np.inf)
        after[last, self.finishes] = 0.0
        to_go = np.full((n, last + 1), np.inf)
        to_go[:, last] = after[last]
        for cut in range(last - 1, -1, -1):
            near = slice(cut + 1, self._furthest[cut] + 1)
            open_ends = np.where(self.ends(cut)[:, near], to_go[:, near], np.inf)
            here = open_ends.min(axis=1, initial=np.inf) + price
            before[cut] = here
            if cut:
                open_ = np.isfinite(here)
                if open_.any():
                    after[cut] = np.where(self.links[cut][:, open_], here[open_], np.inf).min(
                        axis=1
                    )
                    to_go[:, cut] = after[cut]
        return after, before

    def cheapest(self, prices: Floats, after: Floats, before: Floats) -> Walk:
        """A walk of least price, from what `price_to_go` returned."""
        first = np.where(self.starts, before[0], np.inf)
        choice, cut = int(first.argmin()), 0
        price = float(first[choice])
        steps: list[Step] = []
        while np.isfinite(price) and cut < self.n_blocks:
            ends = self.ends(cut)[choice]
            # The longest of the cheapest stages: fewer devices are needed for the rest.
            costs = np.where(ends, after[:, choice], np.inf)
            end = int(np.flatnonzero(costs <= costs.min() + 1e-15)[-1])
            steps.append((choice, cut, end))
            cut = end
            if cut < self.n_blocks:
                choice = int(np.where(self.links[cut][choice], before[cut], np.inf).argmin())
        return Walk(price=price, steps=tuple(steps))

    def overuse(self, steps: tuple[Step, ...]) -> Ints:
        """(classes,) devices that a walk takes beyond those that there are; negative: to spare."""
        taken = self.choices.uses[[step[0] for step in steps]].sum(axis=0)
        return np.asarray(taken - self.choices.counts)

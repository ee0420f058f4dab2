"""A better placement near a known one: its chain of devices is broken up and put together again.

Some pieces of the chain, and devices that had no stage, become loose; the others keep their order.
The loose ones may go anywhere between the others, in any order, and every cut may move: all of
these placements (millions) are looked at in one search, with the sets of loose pieces as the bits
of one number, as in `reach.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from partition.placement.solver.problem import Bools
from partition.placement.solver.stage_graph import Step, Threshold
from partition.placement.solver.subset_dp import bits

Piece = tuple[int, ...]
"""Choices that follow one another."""
_MAX_STATES = 64
"""Of a node, unpacked to draw one; a set of states can be too large to unpack whole."""
_Node = tuple[int, int, int]
"""How many of the kept choices had their stage; the loose piece that had the last stage, -1 if that
was a kept choice's; how many of its choices had theirs."""


class Neighbours:
    """Placements that keep some choices in their order.

    Args:
        threshold: the period that they have to keep within.
        kept: choices that each take a stage, in this order.
        loose: pieces that may come in between; no device may be in two of all these.
        alive: (L + 1, C), where a walk can still get to the end.
    """

    def __init__(
        self, threshold: Threshold, kept: list[int], loose: list[Piece], alive: Bools
    ) -> None:
        self._threshold = threshold
        self._kept = kept
        self._loose = loose
        self._alive = alive
        self._last = threshold.n_blocks
        self._room = _rooms(len(loose))
        self._n_loose = sum(map(len, loose))
        self._need = threshold.stages_to_go()
        self._ends: dict[tuple[int, int], list[int]] = {}
        self._layers: list[dict[_Node, int]] = [{} for _ in range(self._last + 1)]

    def find(self, rng: np.random.Generator) -> tuple[Step, ...]:
        """One of those that get furthest; every kept choice has its stage in it."""
        for cut in range(self._last):
            self._leave(cut)
        for cut in range(self._last, 0, -1):
            nodes = [node for node in self._layers[cut] if self._may_end(cut, node)]
            if nodes:
                node = nodes[rng.integers(len(nodes))]
                states = list(islice(bits(self._layers[cut][node]), _MAX_STATES))
                return self._back(cut, node, states[rng.integers(len(states))])
        return ()

    def _may_end(self, cut: int, node: _Node) -> bool:
        done = node[0] == len(self._kept) and self._complete(node)
        return done and (cut < self._last or bool(self._threshold.finishes[self._choice(node)]))

    def _complete(self, node: _Node) -> bool:
        """Whether no loose piece is under way."""
        return node[1] < 0 or node[2] == len(self._loose[node[1]])

    def _choice(self, node: _Node) -> int:
        kept, piece, n = node
        return self._kept[kept - 1] if piece < 0 else self._loose[piece][n - 1]

    def _leave(self, cut: int) -> None:
        """Let the next stages start at a cut."""
        by_kept: dict[int, list[tuple[int, int]]] = {} if cut else {0: []}
        for node, sets in self._layers[cut].items():
            if self._complete(node):
                by_kept.setdefault(node[0], []).append((self._choice(node), sets))
            else:
                kept, piece, n = node
                choice = self._loose[piece][n]
                if self._threshold.links[cut][self._choice(node), choice]:
                    self._place(cut, (kept, piece, n + 1), choice, sets)
        for kept, row in by_kept.items():
            left = len(self._kept) - kept
            if self._need[cut] > left + self._n_loose or self._last - cut < left:
                continue
            if left:
                choice = self._kept[kept]
                self._place(cut, (kept + 1, -1, 0), choice, self._entering(cut, row, choice))
            for piece, choices in enumerate(self._loose):
                sets = self._entering(cut, row, choices[0]) & self._room[piece]
                self._place(cut, (kept, piece, 1), choices[0], sets << (1 << piece))

    def _entering(self, cut: int, row: list[tuple[int, int]], choice: int) -> int:
        if cut == 0:
            return int(self._threshold.starts[choice])
        entering = 0
        links = self._threshold.links[cut]
        for sender, sets in row:
            if links[sender, choice]:
                entering |= sets
        return entering

    def _place(self, cut: int, node: _Node, choice: int, sets: int) -> None:
        if sets:
            for end in self._open_ends(cut, choice):
                layer = self._layers[end]
                layer[node] = layer.get(node, 0) | sets

    def _open_ends(self, cut: int, choice: int) -> list[int]:
        known = self._ends.get((cut, choice))
        if known is None:
            open_ = self._threshold.ends(cut)[choice] & self._alive[:, choice]
            known = self._ends[cut, choice] = np.flatnonzero(open_).tolist()
        return known

    def _back(self, end: int, node: _Node, state: int) -> tuple[Step, ...]:
        """The stages of a walk that got here with these pieces used."""
        steps: list[Step] = []
        while True:
            choice = self._choice(node)
            kept, piece, n = node
            if piece < 0:
                before = kept - 1, state
            else:
                before = kept, state ^ (1 << piece) if n == 1 else state
            for cut, earlier in self._before(end, node, before):
                steps.append((choice, cut, end))
                if earlier is None:
                    return tuple(reversed(steps))
                end, node, state = cut, earlier, before[1]
                break

    def _before(
        self, end: int, node: _Node, before: tuple[int, int]
    ) -> Iterator[tuple[int, _Node | None]]:
        """Where the last stage can have started, and what came before it; None: nothing."""
        kept, state = before
        choice = self._choice(node)
        within = node[1] >= 0 and node[2] > 1
        for cut in range(end):
            if end not in self._open_ends(cut, choice):
                continue
            if cut == 0:
                if not within and not kept and not state and self._threshold.starts[choice]:
                    yield 0, None
                continue
            for earlier, sets in self._layers[cut].items():
                fits = (
                    earlier == (node[0], node[1], node[2] - 1)
                    if within
                    else earlier[0] == kept and self._complete(earlier)
                )
                linked = self._threshold.links[cut][self._choice(earlier), choice]
                if fits and linked and sets >> state & 1:
                    yield cut, earlier


def _rooms(n: int) -> list[int]:
    """Per piece, the sets without it."""
    everything = (1 << (1 << n)) - 1
    return [everything // ((1 << (1 << i)) + 1) for i in range(n)]

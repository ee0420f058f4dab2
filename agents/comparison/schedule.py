"""Schedule of a switchback: which arm has the board when, and on which requests.

A round is four blocks, ABBA or BAAB by a coin, so that a drift that is steady over a minute hits
both arms alike, whatever its size, and what comes and goes hits either by chance. The two blocks of
each half answer the same requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_BLOCKS = 4
"""Of a round."""


@dataclass(frozen=True, slots=True)
class BlockLength:
    """Length of a block in control steps that are not late.

    The usual one: ten seconds that count, long against what a governor needs to settle and short
    against how heat and link drift; before them as much as the tail of what the other arm left
    takes (a queue, the sensors' averaging, a chip's fast thermal node of 1.5 s).

    Attributes:
        washout: after a switch, not counted.
        counted: afterwards.
    """

    washout: int = 10
    counted: int = 40

    @property
    def n_steps(self) -> int:
        """Of the whole block."""
        return self.washout + self.counted

    def round_s(self, step_s: float) -> float:
        """Duration of a round of such blocks, with control steps of so many seconds."""
        return N_BLOCKS * self.n_steps * step_s


@dataclass(frozen=True, slots=True)
class Turn:
    """One block of the schedule.

    Attributes:
        arm: 0 or 1.
        seeds: of its requests and operating conditions, shape (1,).
    """

    arm: int
    seeds: NDArray[np.uint64]


def rounds(seed: int) -> Iterator[tuple[Turn, ...]]:
    """Rounds without end, each of `N_BLOCKS` blocks."""
    generator = np.random.default_rng(seed)
    while True:
        first = int(generator.integers(2))
        halves = generator.integers(2**63, size=2).astype(np.uint64)
        arms = (first, 1 - first, 1 - first, first)
        yield tuple(Turn(arm, halves[[k // 2]]) for k, arm in enumerate(arms))

"""Boards whose time passes only when it is waited for; of a network only its time runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from envs.calibration.samples import Kind, Piece
from hw.base import Board
from partition.model.routes import RouteOption
from tests.envs.calibration.invented import OPTIONS
from tests.hw.fake.clock import FakeClock

UNEVEN = (0.0, 0.1, -0.05, 0.05, -0.1, 0.1, -0.05, -0.1, 0.05)
"""Of the time of each block, which no count of operations and bytes explains."""
PIECE_S = 2.5e-4
"""Of every head and tail besides, as one call of ONNX Runtime takes for EfficientNet-Lite0."""
VARIATION, HICCUP_SHARE, HICCUP_S = 0.02, 0.01, 0.005
"""Of a run's work, relative; runs that something else delays, and by how much."""


def seconds_at_top(piece: Piece) -> float:
    """Time of a piece at the highest clocks: 20 ms of the whole network."""
    if piece.kind is Kind.IDLE:
        return 0.0
    if piece.kind is Kind.HOST:
        return 2e-3 + 2e-8 * OPTIONS[piece.route].wire_bytes
    blocks = slice(piece.route + 1) if piece.kind is Kind.HEAD else slice(piece.route + 1, None)
    seconds = sum(BLOCKS_S[blocks])
    return seconds + PIECE_S if seconds else 0.0


def _blocks_s() -> list[float]:
    """Times of the blocks that end at each cut."""
    edges = [option.edge for option in OPTIONS]
    blocks = [edges[0], *(after - before for before, after in pairwise(edges))]
    return [
        (2e-11 * block.flops + 5e-11 * block.traffic_bytes) * (1.0 + uneven)
        for block, uneven in zip(blocks, UNEVEN, strict=True)
    ]


BLOCKS_S = _blocks_s()


class VirtualRunner:
    """Pieces that take a board's time and compute nothing.

    Args:
        board: modelled or emulated.
        clock: that the board lives by.
        busy: processor time, where the board takes the work from it.
        seed: of what varies from run to run; None for nothing.
    """

    options: Sequence[RouteOption] = OPTIONS

    def __init__(
        self, board: Board, clock: FakeClock, busy: FakeClock | None = None, seed: int | None = None
    ) -> None:
        self._board, self._clock, self._busy = board, clock, busy
        self._rng = None if seed is None else np.random.default_rng(seed)
        self.kinds = frozenset(Kind) if busy else frozenset(Kind) - {Kind.HOST}

    def prepared(self, piece: Piece) -> Callable[[], object]:
        option = OPTIONS[piece.route]
        cost = option.fallback if piece.kind is Kind.TAIL else option.edge
        seconds = seconds_at_top(piece)

        def run() -> None:
            if piece.kind is Kind.HOST:
                with self._board.host():
                    self._work(seconds)
            else:
                with self._board.pace(cost.flops, cost.traffic_bytes, cost.kernels):
                    self._work(seconds)

        return run

    def _work(self, seconds: float) -> None:
        if self._busy is None:
            return
        waits_s = 0.0
        if self._rng is not None:
            seconds *= 1.0 + VARIATION * self._rng.normal()
            waits_s = HICCUP_S * (self._rng.uniform() < HICCUP_SHARE)
        self._busy.sleep(seconds)
        self._clock.sleep(seconds + waits_s)

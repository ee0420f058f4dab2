"""Boards whose time passes only when it is waited for; of a network only its time runs."""

from __future__ import annotations

from collections.abc import Callable

from envs.calibration.samples import Kind, Piece
from tests.envs.calibration.invented import OPTIONS
from tests.hw.fake.clock import FakeClock


class VirtualRunner:
    """Pieces that take a board's time and compute nothing.

    Args:
        board: modelled or emulated.
        clock: that the board lives by.
        busy: processor time, where the board takes the work from it.
    """

    options = OPTIONS

    def __init__(self, board, clock: FakeClock, busy: FakeClock | None = None) -> None:
        self._board, self._clock, self._busy = board, clock, busy
        self.kinds = frozenset(Kind) if busy else frozenset(Kind) - {Kind.HOST}

    def prepared(self, piece: Piece) -> Callable[[], object]:
        option = OPTIONS[piece.route]
        cost = option.fallback if piece.kind is Kind.TAIL else option.edge

        def run() -> None:
            if piece.kind is Kind.HOST:
                with self._board.host():
                    self._work(2e-3 + 2e-8 * option.wire_bytes)
            else:
                with self._board.pace(cost.flops, cost.traffic_bytes, cost.kernels):
                    self._work(4e-12 * cost.flops + 1e-11 * cost.traffic_bytes)

        return run

    def _work(self, seconds: float) -> None:
        if self._busy is not None:
            self._busy.sleep(seconds)
            self._clock.sleep(seconds)

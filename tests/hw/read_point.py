"""The present clocks of a board, Hz."""

from __future__ import annotations

from hw.base import Board, OperatingPoint


def read_point(board: Board) -> OperatingPoint:
    return {name: domain.read_hz() for name, domain in board.domains.items()}

"""What was measured of a board with a network, piece by piece and point by point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from common.schema import NonNegative, Positive, Table
from envs.arrays import Floats
from envs.calibration.fitting.latency_form import Rows
from partition.model.cost import Cost
from partition.model.routes import RouteOption


class Kind(str, Enum):
    """What runs again and again during a measurement."""

    IDLE = "idle"
    HEAD = "head"
    TAIL = "tail"
    HOST = "host"
    """Work of the processor beside the network."""


NETWORK = (Kind.HEAD, Kind.TAIL)
SIZES = ("kernel", "flop", "byte", "piece")
"""What a piece of the network is counted in; of the last there is one, or none to be run."""
N_SIZES = len(SIZES)


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that a board can do.

    Attributes:
        kind: of work.
        route: index into the network's routes; the last one's head is the whole network.
    """

    kind: Kind
    route: int = 0


class Sample(Table, frozen=True):
    """One measurement: a piece that ran again and again at some clocks.

    Attributes:
        kind: of work.
        route: of the piece.
        requested_hz: clocks that were asked for, by "cpu", "gpu" and "emc".
        applied_hz: clocks that were read back.
        began_s: since the first measurement, s.
        duration_s: of the energy window.
        n_runs: of the piece within it.
        latency_s: median of one run; None where the board was idle.
        latency_error: relative standard error of that.
        power_w: mean power; None where there is no sensor.
        power_error: largest relative error that the sensor admits, without its gain.
        temperature_c: at the end; None where it is unknown.
        is_control: whether it repeats the point that shows drift.
    """

    kind: Kind
    route: Annotated[int, Meta(ge=0)]
    requested_hz: dict[str, Positive]
    applied_hz: dict[str, Positive]
    began_s: NonNegative
    duration_s: Positive
    n_runs: Annotated[int, Meta(ge=0)]
    latency_s: Positive | None = None
    latency_error: NonNegative = 0.0
    power_w: Positive | None = None
    power_error: NonNegative = 0.0
    temperature_c: float | None = None
    is_control: bool = False

    @property
    def piece(self) -> Piece:
        """What ran."""
        return Piece(self.kind, self.route)


@dataclass(frozen=True, slots=True)
class Work:
    """What pieces have to do and where their clocks are; n of them.

    Attributes:
        kind: of each, shape (n,).
        rows: `SIZES` and clocks.
        sent_bytes: that leave the board after it, shape (n,).
    """

    kind: NDArray[np.str_]
    rows: Rows
    sent_bytes: Floats

    def __len__(self) -> int:
        return len(self.kind)

    def is_of(self, *kinds: Kind) -> NDArray[np.bool_]:
        """Which of them are of some kinds."""
        return np.isin(self.kind, [kind.value for kind in kinds])

    def take(self, chosen: NDArray[np.generic]) -> Work:
        """Some of them, by index or by truth value."""
        return Work(self.kind[chosen], self.rows.take(chosen), self.sent_bytes[chosen])


NOT_SET_HZ = 1_000_000_000
"""Stands for a clock that cannot be set or is not there: cycles are then time."""


def work(
    pieces: Sequence[Piece],
    clocks_hz: Sequence[Mapping[str, float]],
    options: Sequence[RouteOption],
) -> Work:
    """Sizes and clocks of pieces.

    Args:
        pieces: n of them.
        clocks_hz: of each, by name.
        options: the network's routes.
    """
    costs = [_cost(piece, options) for piece in pieces]
    sizes = np.array(
        [[c.kernels, c.flops, c.traffic_bytes, c.kernels > 0] for c in costs], dtype=np.float64
    )
    hz = (
        np.array([float(clocks.get(name, NOT_SET_HZ)) for clocks in clocks_hz])
        for name in ("cpu", "gpu", "emc")
    )
    sent = [options[piece.route].wire_bytes if piece.kind is Kind.HOST else 0 for piece in pieces]
    return Work(
        np.array([piece.kind.value for piece in pieces]),
        Rows(sizes.reshape(-1, N_SIZES), *hz),
        np.array(sent, dtype=np.float64),
    )


def _cost(piece: Piece, options: Sequence[RouteOption]) -> Cost:
    option = options[piece.route]
    return {Kind.HEAD: option.edge, Kind.TAIL: option.fallback}.get(piece.kind, Cost())

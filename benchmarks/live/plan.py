"""Cells of the comparison of live runs with the simulator's prediction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.live.course import Course

NETWORK = "efficientnet-lite0"
SIM, EMULATED = "sim", "emulated"
BOARDS = {SIM: "tx2"}
"""Devices that boards are by themselves; of the emulated one a device file has to be measured."""
RATES_MBPS, RTTS_MS = (2.0, 10.0, 50.0), (3.5, 45.0)
REPEATS, SECONDS = 8, 20.0
"""200 requests in each run, 1,600 in a cell."""
CONTROL = "max clocks, edge-only"
Actions = dict[str, tuple[tuple[int, ...], int]]


def _actions(middle: tuple[int, ...], low: tuple[int, ...]) -> Actions:
    """Actions of a board by name, given clocks in the middle of its tables and low ones."""
    top, bottom = (-1,) * len(middle), (0,) * len(middle)
    return {
        CONTROL: (top, -1),
        "max clocks, input": (top, 0),
        "max clocks, 75 kB cut": (top, 1),
        f"{middle}, 16 kB cut": (middle, 3),
        f"{low}, input": (low, 0),
        "lowest clocks, input": (bottom, 0),
    }


ACTIONS: dict[str, Actions] = {
    SIM: _actions((8, 9, 5), (2, 2, 2)),
    EMULATED: _actions((2, 4), (1, 1)),
}
"""By board: places in its tables of clocks, -1 the last; and the route."""

ARRIVAL_HZ = 10.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One action on one link."""

    action: str
    rate_mbps: float
    rtt_ms: float
    board: str = SIM

    @property
    def indices(self) -> tuple[int, ...]:
        """Of the action, -1 the last place of an axis."""
        clocks, route = ACTIONS[self.board][self.action]
        return (*clocks, route)

    @property
    def course(self) -> Course:
        """Its link and requests."""
        name = f"{self.rate_mbps:g} Mbit per s {self.rtt_ms:g} ms"
        return Course(name, (self.rate_mbps,), self.rtt_ms, ARRIVAL_HZ)

    @property
    def control(self) -> Cell:
        """The board alone at the highest clocks, which tells how much the machine disturbs."""
        return Cell(CONTROL, self.rate_mbps, self.rtt_ms, self.board)


def cells(board: str, *, short: bool) -> Iterator[Cell]:
    """All of a board, or four that show the kinds of differences."""
    if short:
        _, whole, _, middle, _, lowest = ACTIONS[board]
        yield Cell(whole, 50.0, 3.5, board)
        yield Cell(whole, 10.0, 3.5, board)
        yield Cell(middle, 10.0, 3.5, board)
        yield Cell(lowest, 50.0, 3.5, board)
        return
    for rtt_ms in RTTS_MS:
        for rate_mbps in RATES_MBPS:
            for action in ACTIONS[board]:
                yield Cell(action, rate_mbps, rtt_ms, board)

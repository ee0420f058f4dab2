"""Cells of the comparison of live runs with the simulator's prediction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.live.course import Course

NETWORK = "efficientnet-lite0"
BOARDS = {"sim": "tx2"}
"""Devices that the boards are, by the boards' names."""
RATES_MBPS, RTTS_MS = (2.0, 10.0, 50.0), (3.5, 45.0)
REPEATS, SECONDS = 8, 20.0
"""200 requests in each run, 1,600 in a cell."""
CONTROL = "max clocks, edge-only"
ACTIONS: dict[str, tuple[tuple[int, ...], int]] = {
    CONTROL: ((-1, -1, -1), -1),
    "max clocks, input": ((-1, -1, -1), 0),
    "max clocks, 75 kB cut": ((-1, -1, -1), 1),
    "(8, 9, 5), 16 kB cut": ((8, 9, 5), 3),
    "(2, 2, 2), input": ((2, 2, 2), 0),
    "lowest clocks, input": ((0, 0, 0), 0),
}
"""Places in the tables of CPU, GPU and memory clocks, -1 the last; and the route."""

ARRIVAL_HZ = 10.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One action on one link."""

    action: str
    rate_mbps: float
    rtt_ms: float
    board: str = "sim"

    @property
    def indices(self) -> tuple[int, ...]:
        """Of the action, -1 the last place of an axis."""
        clocks, route = ACTIONS[self.action]
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


def cells(*, short: bool) -> Iterator[Cell]:
    """All of them, or four that show the kinds of differences."""
    if short:
        yield Cell("max clocks, input", 50.0, 3.5)
        yield Cell("max clocks, input", 10.0, 3.5)
        yield Cell("(8, 9, 5), 16 kB cut", 10.0, 3.5)
        yield Cell("lowest clocks, input", 50.0, 3.5)
        return
    for rtt_ms in RTTS_MS:
        for rate_mbps in RATES_MBPS:
            for action in ACTIONS:
                yield Cell(action, rate_mbps, rtt_ms)

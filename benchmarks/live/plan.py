"""Cells of the comparison of live runs with the simulator's prediction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NETWORK, BOARD, DEVICE = "efficientnet-lite0", "sim", "tx2"
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
ARRIVAL_HZ, TARGET_MS = 10.0, 100.0
_SCENARIO = """schema_version = 2
description = "A link that never changes, for live runs."
eta = 0.5
[link]
rate_mbps = {rate_mbps}
rtt_ms = {rtt_ms}
radio_w = 1.0
radio_w_per_mbps = 0.01
[server]
gflop_per_s = {gflop_per_s}
load = 0.0
[arrivals]
rate_hz = {rate_hz}
kind = "periodic"
[ambient]
temperature_c = 25.0
[requests]
latency_target_ms = {target_ms}
[board]
slowdown = 1.0
decision_ms = 0.1
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """One action on one link."""

    action: str
    rate_mbps: float
    rtt_ms: float

    @property
    def indices(self) -> tuple[int, ...]:
        """Of the action, -1 the last place of an axis."""
        clocks, route = ACTIONS[self.action]
        return (*clocks, route)

    def scenario(self, folder: Path, gflop_per_s: float) -> Path:
        """Its conditions as a file for the simulator and for the live board."""
        path = folder / f"{self.rate_mbps:g}-{self.rtt_ms:g}-{gflop_per_s:.4g}.toml"
        values = {"rate_hz": ARRIVAL_HZ, "target_ms": TARGET_MS, "gflop_per_s": gflop_per_s}
        link = {"rate_mbps": self.rate_mbps, "rtt_ms": self.rtt_ms}
        path.write_text(_SCENARIO.format(**link, **values), encoding="utf-8")
        return path


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

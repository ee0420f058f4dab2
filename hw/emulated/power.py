"""Power that the emulated machine draws: a table and a drift, so that no fitted form meets it."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

import numpy as np

TABLE = Path(__file__).with_name("power.csv")


class Activity(Enum):
    """What the machine does: nothing, work of the processor, or the network."""

    IDLE = "idle"
    HOST = "host"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class PowerTable:
    """Power at the machine's input without any drift; invented.

    Attributes:
        points_w: by clock of the cpu, Hz, clock of the gpu, Hz, and activity, W.
    """

    points_w: Mapping[tuple[int, int, Activity], float]

    @classmethod
    @cache
    def shipped(cls) -> PowerTable:
        """The machine's own."""
        with TABLE.open(encoding="utf-8", newline="") as stream:
            rows = csv.DictReader(line for line in stream if not line.startswith("#"))
            return cls(
                {
                    (int(row["cpu_hz"]), int(row["gpu_hz"]), Activity(row["activity"])): float(
                        row["power_w"]
                    )
                    for row in rows
                }
            )

    def power_w(self, cpu_hz: int, gpu_hz: int, activity: Activity) -> float:
        """Power at operating points, W."""
        return self.points_w[cpu_hz, gpu_hz, activity]


class Drift:
    """Slow change of the power of one machine, as by heat: two swings of some minutes.

    Args:
        seed: of their periods and phases.
    """

    SPAN = 0.05
    """From the lowest to the highest, of the power."""
    PERIODS_S = ((240.0, 420.0), (90.0, 200.0))
    SHARES = (0.6, 0.4)

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self._swings = [
            (share, 2.0 * math.pi / draw.uniform(*bounds_s), draw.uniform(0.0, 2.0 * math.pi))
            for share, bounds_s in zip(self.SHARES, self.PERIODS_S, strict=True)
        ]

    def factor(self, now_s: float) -> float:
        """What the power is multiplied by at a moment."""
        swing = sum(share * math.sin(rate * now_s + phase) for share, rate, phase in self._swings)
        return 1.0 + self.SPAN / 2.0 * swing

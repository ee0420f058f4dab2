"""Cells of the tables: live against simulated over the repeats, and the bars they have to meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from benchmarks.live.actions import DISTURBED
from benchmarks.live.policies import pooled_p95_s
from benchmarks.live.rows import Row

RELATIVE = {"latency_s": 0.10, "energy_j": 0.05, "cost": 0.05}
"""Of fixed actions."""
BARS = {"p95_s": 0.15, "cost": 0.05}
"""Of policies."""
POINTS = 0.02
"""In time, of both; of fixed actions the interval of the repeats where that is wider."""
TELLING = 0.03
"""Deciders whose simulated costs differ by more must come in the same order live."""
Z = 1.96


@dataclass(frozen=True, slots=True)
class Compared:
    """Runs of one cell.

    Attributes:
        rows: of the table.
    """

    rows: Sequence[Row]

    def live(self, name: str) -> float:
        """Median over the repeats; of p95 the percentile of all their requests."""
        return self._value("live", name)

    def simulated(self, name: str) -> float:
        """The same of the prediction."""
        return self._value("sim", name)

    def off(self, name: str) -> float:
        """Live over simulated, less 1."""
        return self.live(name) / self.simulated(name) - 1.0

    def half_interval(self, name: str) -> float:
        """Half the 95 % interval of what ran live."""
        values = np.array([float(row[f"live_{name}"]) for row in self.rows])
        if len(values) < 2:
            return 0.0
        return float(Z * values.std(ddof=1) / np.sqrt(len(values)))

    def of(self, name: str) -> tuple[float, float, float, float]:
        """Simulated, live, and the ends of the interval of the latter."""
        live, half = self.live(name), self.half_interval(name)
        return self.simulated(name), live, live - half, live + half

    def median(self, column: str) -> float:
        """Of a column."""
        return float(np.median([float(row[column]) for row in self.rows]))

    @property
    def n_requests(self) -> int:
        """Of all repeats."""
        return sum(int(row["requests"]) for row in self.rows)

    def missed(self, relative: Mapping[str, float], *, or_interval: bool = False) -> list[str]:
        """Bars that it does not meet, each with the difference.

        Args:
            relative: largest relative difference, by name.
            or_interval: whether the interval of the repeats counts where it is wider.
        """
        found = [
            f"{name} {100 * self.off(name):+.0f} %"
            for name, bar in relative.items()
            if abs(self.off(name)) > bar
        ]
        points = self.live("in_time") - self.simulated("in_time")
        allowed = max(POINTS, self.half_interval("in_time") if or_interval else 0.0)
        if abs(points) > allowed:
            found.append(f"in_time {100 * points:+.1f}")
        if found and (off := abs(self.median("control_off"))) > DISTURBED:
            found.append(f"the machine was busy, the control off by {100 * off:.0f} %")
        return found

    def _value(self, side: str, name: str) -> float:
        if name == "p95_s" and f"{side}_quantiles_ms" in self.rows[0]:
            return pooled_p95_s(self.rows, side)
        return self.median(f"{side}_{name}")


def compared(rows: Sequence[Row], key: Sequence[str]) -> dict[tuple[str, ...], Compared]:
    """Rows by their cells."""
    cells: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        cells.setdefault(tuple(row[name] for name in key), []).append(row)
    return {name: Compared(found) for name, found in cells.items()}


def swapped(deciders: Mapping[str, Compared]) -> tuple[int, list[str]]:
    """Pairs whose simulated costs differ clearly, and those that come in another order live."""
    n, wrong = 0, []
    for a, b in combinations(sorted(deciders, key=lambda d: deciders[d].simulated("cost")), 2):
        cheap, dear = deciders[a], deciders[b]
        if dear.simulated("cost") <= (1.0 + TELLING) * cheap.simulated("cost"):
            continue
        n += 1
        if dear.live("cost") <= cheap.live("cost"):
            costs = f"{dear.live('cost'):.3f} against {cheap.live('cost'):.3f}"
            wrong.append(f"{b} before {a} live ({costs})")
    return n, wrong

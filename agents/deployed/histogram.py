"""Histogram of times with quantiles, in constant memory however long a daemon runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHORTEST_S, LONGEST_S = 1e-6, 1e4
RESOLUTION = 0.01
"""Width of a bin over its middle: quantiles are right within half of it."""


class TimeHistogram:
    """Counts times in bins of equal ratio; what lies outside is counted at the ends.

    Attributes:
        total_s: of all times.
    """

    def __init__(self) -> None:
        """Begin with nothing, in 18 kB."""
        n_bins = int(np.ceil(np.log(LONGEST_S / SHORTEST_S) / np.log1p(RESOLUTION)))
        self._counts = np.zeros(n_bins, np.int64)
        self.total_s = 0.0

    def __len__(self) -> int:
        """Times that were counted."""
        return int(self._counts.sum())

    def add(self, time_s: float) -> None:
        """Count one."""
        where = np.log(max(time_s, SHORTEST_S) / SHORTEST_S) / np.log1p(RESOLUTION)
        self._counts[min(int(where), len(self._counts) - 1)] += 1
        self.total_s += time_s

    def copy(self) -> TimeHistogram:
        """The same counts, which stay as they are now."""
        return self.since(TimeHistogram())

    def since(self, earlier: TimeHistogram) -> TimeHistogram:
        """What was counted after a copy was made."""
        found = TimeHistogram()
        found._counts = self._counts - earlier._counts
        found.total_s = self.total_s - earlier.total_s
        return found

    def merge(self, other: TimeHistogram) -> None:
        """Count the times of another one as well."""
        self._counts += other._counts
        self.total_s += other.total_s

    def counts_up_to(self, bounds_s: Sequence[float]) -> list[int]:
        """How many times did not exceed each bound, as far as the bins tell; bounds ascend."""
        edges = np.log(np.asarray(bounds_s) / SHORTEST_S) / np.log1p(RESOLUTION)
        whole = np.clip(np.rint(edges).astype(int), 0, len(self._counts))
        total = np.concatenate([[0], np.cumsum(self._counts)])
        return [int(n) for n in total[whole]]

    def quantile_s(self, share: float) -> float | None:
        """Time that this share of all, in 0..1, does not exceed; None without any."""
        n = len(self)
        if n == 0:
            return None
        rank = max(int(np.ceil(share * n)), 1)
        number = int(np.searchsorted(np.cumsum(self._counts), rank))
        return float(SHORTEST_S * (1.0 + RESOLUTION) ** (number + 0.5))

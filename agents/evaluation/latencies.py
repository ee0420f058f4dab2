"""Latencies of many requests, of which those of several runs add up to one percentile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.arrays import Floats

SHORTEST_S, LONGEST_S = 1e-4, 1e3
RESOLUTION = 0.01
"""Width of a bin over its lower end."""
N_BINS = int(np.ceil(np.log(LONGEST_S / SHORTEST_S) / np.log1p(RESOLUTION)))


class Latencies:
    """Requests by latency, in bins of equal ratio; what lies outside is counted at the ends.

    Attributes:
        requests: of each bin, shape (N_BINS,); shares of a request count, too.
    """

    def __init__(self, requests: Floats | None = None) -> None:
        """Begin with these requests, or with none."""
        self.requests: Floats = np.zeros(N_BINS) if requests is None else requests

    @classmethod
    def of(cls, latencies_s: Floats, requests: Floats) -> Latencies:
        """Count so many requests at each latency, arrays of the same shape."""
        position = np.log(np.maximum(latencies_s, SHORTEST_S) / SHORTEST_S) / np.log1p(RESOLUTION)
        bins = np.minimum(position.astype(np.intp), N_BINS - 1)
        found = cls()
        np.add.at(found.requests, bins, requests)
        return found

    def __add__(self, other: Latencies) -> Latencies:
        """All requests of both."""
        return Latencies(self.requests + other.requests)

    def quantile_s(self, share: float) -> float:
        """Latency that this share of all requests, in 0..1, does not exceed."""
        up_to = np.cumsum(self.requests)
        rank = share * up_to[-1]
        number = min(int(np.searchsorted(up_to, rank)), N_BINS - 1)
        within = 1.0 - (up_to[number] - rank) / max(self.requests[number], 1e-300)
        return float(SHORTEST_S * (1.0 + RESOLUTION) ** (number + within))

    def packed(self) -> list[float]:
        """Number of the first bin that is not empty, then all requests up to the last such bin."""
        there = np.flatnonzero(self.requests)
        if not len(there):
            return []
        kept = self.requests[there[0] : there[-1] + 1]
        return [float(there[0]), *np.round(kept, 4).tolist()]

    @classmethod
    def unpacked(cls, packed: Sequence[float]) -> Latencies:
        """What `packed` gave."""
        found = cls()
        if packed:
            first = int(packed[0])
            found.requests[first : first + len(packed) - 1] = packed[1:]
        return found

"""Both sides at a pace that does not depend on what else the machine has to do."""

from __future__ import annotations

import time
from contextlib import contextmanager

from partition.model.runtime import SplitRuntime

EDGE_S = 0.5
"""The whole network on the edge: an old board."""
CLOUD_S = 0.04
"""The whole network in the cloud."""


def edge_share(folder, point):
    """Share of the network before a cut."""
    return point.head_flops / folder.split_points[-1].head_flops


class PacedTails(SplitRuntime):
    """Tails that take their share of `CLOUD_S`, at least, per sample of a batch."""

    def __init__(self, folder, threads=1):
        super().__init__(folder, threads)
        self._paced = folder

    def tail(self, point, tensors):
        start_s = time.monotonic()
        outputs = super().tail(point, tensors)
        needed_s = len(tensors[0]) * CLOUD_S * (1 - edge_share(self._paced, point))
        time.sleep(max(start_s + needed_s - time.monotonic(), 0.0))
        return outputs


class PacedEdge:
    """Heads and tails that take their share of `EDGE_S`, at least."""

    def __init__(self, folder):
        self._folder = folder

    def edge(self, route):
        return self._paced(EDGE_S * self._share(route))

    def fallback(self, route):
        return self._paced(EDGE_S * (1 - self._share(route)))

    def _share(self, route):
        return edge_share(self._folder, self._folder.split_points[route.split])

    @contextmanager
    def _paced(self, needed_s):
        start_s = time.monotonic()
        yield
        time.sleep(max(start_s + needed_s - time.monotonic(), 0.0))

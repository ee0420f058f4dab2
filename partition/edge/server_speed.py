"""Speed of the server and its usual computing times, from what its replies say."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from partition.model.folder import ModelFolder
from partition.model.split_point import SplitPoint

SMOOTHING = 0.3
"""Weight of a reply, in logarithms: a server is slow by a factor, and now and then for a moment."""
FORGETTING_S = 30.0
"""Time constant with which the server is taken to be as fast as usual again while nothing is sent:
who stays away from a slow server would not see it recover."""
TELLING_SHARE = 0.1
"""Of the network's work; the time of less is rather that of copying and waking up."""
SLOWEST, FASTEST = 1e6, 1e16
"""Bounds of a single reply, FLOP/s: a server may say what it likes."""
TIME_SMOOTHING = 0.3
"""Weight of a reply in the usual computing time."""
MAX_LOAD = 0.95
"""Of a reply; how fast a server would be without any load cannot be told when it is full."""


class ServerSpeed:
    """Follows how fast one server computes one network.

    Args:
        folder: the network.
        clock: monotonic seconds.
    """

    def __init__(self, folder: ModelFolder, clock: Callable[[], float] = time.monotonic) -> None:
        self._telling_flops = TELLING_SHARE * folder.split_points[0].tail.flops
        self._clock = clock
        self._seen: float | None = None
        self._seen_s = 0.0
        self._usual: float | None = None
        self._load = 0.0
        self._times: dict[int, tuple[float, float]] = {}
        """By split point: the usual computing time, and when it was last seen, s."""

    def answered(self, point: SplitPoint, compute_s: float, load: float) -> None:
        """Take in a reply.

        Args:
            point: whose tail was run.
            compute_s: in the server, waiting included; no longer than the reply took to come.
            load: busy share of the server when it answered.
        """
        self._load = min(load, MAX_LOAD)
        known_s = self._times.get(point.index, (compute_s, 0.0))[0]
        usual_s = known_s + TIME_SMOOTHING * (compute_s - known_s)
        self._times[point.index] = (usual_s, self._clock())
        if point.tail.flops < self._telling_flops or compute_s <= 0.0:
            return
        shown = point.tail.flops / (compute_s * (1.0 - self._load))
        shown = min(max(shown, SLOWEST), FASTEST)
        before = shown if self._seen is None else self._seen
        self._seen = before * (shown / before) ** SMOOTHING
        self._seen_s = self._clock()

    def flops_per_s(self, usual: float) -> float:
        """Speed of the idle server, FLOP/s.

        Args:
            usual: what it is taken for before there were any replies, and when they are long ago;
                it is remembered.
        """
        self._usual = usual
        return self._taken_for(usual)

    def usual_s(self, point: SplitPoint) -> float | None:
        """Computing time that replies of this split point usually show; None before there were any.

        It fades while none come, or a server that was slow once would never be asked again.
        """
        if point.index not in self._times:
            return None
        usual_s, seen_s = self._times[point.index]
        return usual_s * math.exp(-(self._clock() - seen_s) / FORGETTING_S)

    def expected_s(self, point: SplitPoint) -> float | None:
        """Computing time of the next request at a split point; None where nothing is known.

        What its replies showed, and the more the longer there were none, what its work takes at the
        speed that the server is taken for.
        """
        by_speed_s = self._by_speed_s(point)
        if point.index not in self._times:
            return by_speed_s
        usual_s, seen_s = self._times[point.index]
        if by_speed_s is None:
            return usual_s
        kept = math.exp(-(self._clock() - seen_s) / FORGETTING_S)
        return usual_s * kept + by_speed_s * (1.0 - kept)

    def _by_speed_s(self, point: SplitPoint) -> float | None:
        usual = self._seen if self._usual is None else self._usual
        if usual is None:
            return None
        return point.tail.flops / (self._taken_for(usual) * (1.0 - self._load))

    def _taken_for(self, usual: float) -> float:
        """Speed of the idle server, FLOP/s."""
        if self._seen is None:
            return usual
        faded = math.exp(-(self._clock() - self._seen_s) / FORGETTING_S)
        return float(usual * (self._seen / usual) ** faded)

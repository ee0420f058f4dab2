"""Hiccups: single answers that are held up for so long that the board finishes by itself.

While it waits and then computes, nobody else is served. At the lowest clocks one hiccup makes a
dozen requests late, so that it counts for the choice of clocks although it hardly ever comes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.arrays import Floats

TAIL_SCALE = 1.0
"""Mean delay of a request that is held up, in times of what it takes otherwise; assumed."""
MAX_UTILISATION = 0.9
"""Utilisation at which a queue stops growing."""
LEAST_EXPONENT = -30.0
"""Below this nothing is held up for so long; smaller numbers would only be slow."""
SHORTEST_S = 1e-9
"""Keeps divisions finite."""


class Hiccups(NamedTuple):
    """What they do to the requests of a step.

    Attributes:
        share: of the requests that end so, on average.
        spared_s: of the mean delay of one that is held up, what giving up spares it.
        extra_s: that such a request keeps the board from the others, beyond an ordinary one.
        is_late: 1 where it is late itself although nobody was before it, else 0.
    """

    share: Floats
    spared_s: Floats
    extra_s: Floats
    is_late: Floats

    @classmethod
    def of(
        cls, tail_share: Floats, away_s: Floats, waits_s: Floats, finish_s: Floats, left_s: Floats
    ) -> Hiccups:
        """Of requests that an action sends away, at the clocks in force.

        Args:
            tail_share: share of the requests that are held up.
            away_s: until the answer unless it is held up; 0 where none is awaited.
            waits_s: after which the board gives up.
            finish_s: that the rest takes on the board.
            left_s: until the deadline, when a request is sent.
        """
        mean_s = TAIL_SCALE * away_s
        spare_s = waits_s - away_s
        exponent = np.maximum(-spare_s / np.maximum(mean_s, SHORTEST_S), LEAST_EXPONENT)
        longer = np.exp(exponent) * (away_s > 0.0)
        is_late = (waits_s + finish_s > left_s).astype(longer.dtype)
        return cls(tail_share * longer, mean_s * longer, spare_s + finish_s, is_late)

    def n_late(self, service_s: Floats, room_s: Floats, arrival_hz: Floats) -> Floats:
        """Requests that one makes late, itself included: those that come until the queue is short.

        Args:
            service_s: of an ordinary request.
            room_s: that is left of its deadline then.
            arrival_hz: of requests.
        """
        blocked_s = np.maximum(self.extra_s - room_s, 0.0)
        return self.is_late + arrival_hz * blocked_s * _growth(service_s, arrival_hz)

    def delay_s(self, service_s: Floats, arrival_hz: Floats) -> Floats:
        """Time that one costs all requests together, itself included."""
        behind = 0.5 * arrival_hz * self.extra_s * _growth(service_s, arrival_hz)
        return self.extra_s * (1.0 + behind)


def _growth(service_s: Floats, arrival_hz: Floats) -> Floats:
    """How much longer a queue lasts than what began it, for others join it meanwhile."""
    utilisation = np.minimum(arrival_hz * service_s, MAX_UTILISATION)
    return np.asarray(1.0 / (1.0 - utilisation))

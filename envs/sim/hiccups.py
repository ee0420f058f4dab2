"""Requests that are held up: for how long, and hiccups, where the board gives up and finishes.

An answer that is awaited keeps the others waiting, and one that is given up does so all the more:
while the board computes, nobody else is served. At the lowest clocks one hiccup makes a dozen
requests late, so that it counts for the choice of clocks although it hardly ever comes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats

TAIL_SCALE = 1.0
"""Mean delay of a request that is held up, in times of what it takes otherwise; assumed. It is
exponentially distributed."""
MAX_UTILISATION = 0.9
"""Utilisation at which a queue stops growing."""
LEAST_EXPONENT, _SMALLEST = -30.0, 0.01
"""Beyond these an exponential is 0 or 1; other numbers would only be slow, or inexact."""
SHORTEST_S = 1e-9
"""Keeps divisions finite."""


class Hiccups(NamedTuple):
    """What those do that are held up among the requests of a step.

    Attributes:
        share: of the requests that the board finishes after all, on average: the hiccups.
        extra_s: that one of these keeps the board from the others, beyond an ordinary one.
        is_late: 1 where it is late itself although nobody was before it, else 0.
        waited: share of the requests that are held up and yet answered.
        waited_s: mean delay of one of these.
        mean_s: that the delay of both would have, were there no end to patience.
    """

    share: Floats
    extra_s: Floats
    is_late: Floats
    waited: Floats
    waited_s: Floats
    mean_s: Floats

    @classmethod
    def of(
        cls,
        tail_share: Floats,
        takes_s: Floats,
        spare_s: Floats,
        finish_s: Floats,
        left_s: Floats,
        is_awaited: NDArray[np.bool_],
    ) -> Hiccups:
        """Of an action, at the clocks in force.

        Args:
            tail_share: share of the requests that are held up.
            takes_s: what usually takes that long: the answer, or the board's own work.
            spare_s: that the board waits for an answer beyond that.
            finish_s: that the rest takes on the board.
            left_s: until the deadline, when a request is sent.
            is_awaited: whether answers are; nothing else is given up.
        """
        mean_s = TAIL_SCALE * np.maximum(takes_s, SHORTEST_S)
        spares = np.clip(spare_s / mean_s, _SMALLEST, -LEAST_EXPONENT)
        longer = np.exp(-spares)
        waited_s = mean_s * (1.0 - spares * longer / (1.0 - longer))
        given_up = longer * is_awaited
        is_late = (takes_s + spare_s + finish_s > left_s).astype(longer.dtype)
        return cls(
            share=tail_share * given_up,
            extra_s=spare_s + finish_s,
            is_late=is_late,
            waited=tail_share * (1.0 - given_up),
            waited_s=np.where(is_awaited, waited_s, mean_s),
            mean_s=mean_s,
        )

    def late(self, room_s: Floats) -> Floats:
        """Share of the requests that are held up so long and yet awaited that they are late.

        Args:
            room_s: that an ordinary one leaves of its deadline.
        """
        longer = np.exp(np.maximum(-room_s / self.mean_s, LEAST_EXPONENT))
        return np.maximum((self.share + self.waited) * longer - self.share, 0.0)

    def n_late(self, service_s: Floats, room_s: Floats, arrival_hz: Floats) -> Floats:
        """Requests that a hiccup makes late, itself included: until the queue is short again.

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

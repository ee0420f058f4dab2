"""Waiting of requests for one another: behind what was there, and by chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.arrays import Floats
from envs.scenarios.operating_conditions import OperatingConditions
from envs.sim.hiccups import LEAST_EXPONENT, MAX_UTILISATION, SHORTEST_S, Hiccups

_N_ITERATIONS = 4
_DROPPED = 6.0
"""How much less the mean is for the drops: within 5 % of a queue followed request by request up to
a utilisation of 0.9."""
_LEAST_REST = 1e-3
"""Of a service time; keeps the tail of a distribution finite in single precision."""


class Queue(NamedTuple):
    """What is left of other times: waiting requests, and a board that serves nobody for a while.

    It shrinks while the board works and grows with every request that comes, evenly.

    Attributes:
        mean_s: wait of a request that comes during the step.
        before_s: at the beginning of the step.
        after_s: at its end; negative where it ended before.
    """

    mean_s: Floats
    before_s: Floats
    after_s: Floats

    @classmethod
    def of(cls, before_s: Floats, kept_s: Floats, load: Floats, step_s: float) -> Queue:
        """Follow it over a step.

        Args:
            before_s: work that waits, or time until anybody is served.
            kept_s: the same at the end of the step, limited.
            load: work that comes per second, s.
            step_s: duration of the step.
        """
        after_s = before_s + (load - 1.0) * step_s
        lasts = np.where(after_s < 0.0, before_s / np.maximum(before_s - after_s, SHORTEST_S), 1.0)
        after_s = np.where(after_s < 0.0, after_s, kept_s)
        return cls(0.5 * (before_s + kept_s) * lasts, before_s, after_s)

    def late(self, room_s: Floats) -> Floats:
        """Share of the requests of the step that wait longer than this."""
        high_s = np.maximum(self.before_s, self.after_s)
        low_s = np.minimum(self.before_s, self.after_s)
        over = (high_s - room_s) / np.maximum(high_s - low_s, SHORTEST_S)
        return np.asarray(np.clip(over, 0.0, 1.0))


class Wait(NamedTuple):
    """Waiting by chance: of irregular requests, and behind those that are held up.

    Attributes:
        mean_s: of all requests.
        share: of those that wait.
        late: of those that wait longer than there is room.
    """

    mean_s: Floats
    share: Floats
    late: Floats


def by_chance(
    service_s: Floats,
    room_s: Floats,
    most_s: Floats,
    now: OperatingConditions,
    hiccups: Hiccups | None,
) -> Wait:
    """Wait of requests by chance, as far as hiccups do not cause it.

    Between even arrivals and Poisson ones it grows with the variation, as Kingman (1961) has it.

    Args:
        service_s: of an ordinary request.
        room_s: that it leaves of its deadline.
        most_s: that anybody waits, for then requests are dropped.
        now: operating conditions.
        hiccups: those held up, if any.
    """
    some = now.arrival_scv
    nobody = np.zeros_like(service_s * now.arrival_hz)
    even = found = Wait(nobody, nobody, nobody)
    if hiccups is not None and (some < 1.0).any():
        even = found = _periodic(service_s, room_s, now.arrival_hz, hiccups)
    if some.any():
        found = _poisson(service_s, room_s, now.arrival_hz, hiccups)
    if some.any() and (some != 1.0).any():
        rest = np.maximum(1.0 - some, 0.0)
        found = Wait(*(some * one + rest * other for one, other in zip(found, even, strict=True)))
    bounded_s = (
        found.mean_s
        * most_s
        / np.sqrt(
            np.maximum(most_s * most_s + _DROPPED * found.mean_s * found.mean_s, SHORTEST_S**2)
        )
    )
    return found._replace(mean_s=bounded_s)


def _poisson(
    service_s: Floats, room_s: Floats, arrival_hz: Floats, hiccups: Hiccups | None
) -> Wait:
    """Pollaczek and Khinchine's mean; as M/D/1 up to a service time, then with its decay."""
    mean_s, square = service_s, service_s * service_s
    if hiccups is not None:
        more_s = hiccups.waited * hiccups.waited_s
        mean_s, square = mean_s + more_s, square + 2.0 * more_s * (service_s + hiccups.waited_s)
    busy = np.minimum(arrival_hz * mean_s, MAX_UTILISATION)
    idle, rate_hz = 1.0 - busy, busy / np.maximum(mean_s, SHORTEST_S)
    wait_s = 0.5 * rate_hz * square / idle
    far = 1.0 - idle * np.exp(busy)
    near_s = mean_s - idle * (np.exp(busy) - 1.0) / np.maximum(rate_hz, SHORTEST_S)
    rest_s = np.maximum(wait_s - near_s, _LEAST_REST * mean_s)
    beyond_s = room_s - mean_s
    decayed = far * np.exp(np.maximum(-beyond_s * far / rest_s, LEAST_EXPONENT))
    near = 1.0 - idle * np.exp(np.minimum(rate_hz * room_s, busy))
    return Wait(wait_s, busy, np.clip(np.where(beyond_s < 0.0, near, decayed), 0.0, 1.0))


def _periodic(service_s: Floats, room_s: Floats, arrival_hz: Floats, hiccups: Hiccups) -> Wait:
    """Behind those held up, exactly for exponential delays: a geometric sum of them (Lindley)."""
    gap_s = 1.0 / arrival_hz
    gaps = np.maximum(gap_s - service_s, (1.0 - MAX_UTILISATION) * gap_s)
    gaps = np.minimum(gaps / hiccups.waited_s, -LEAST_EXPONENT)
    share = np.minimum(hiccups.waited / gaps, MAX_UTILISATION)
    for _ in range(_N_ITERATIONS):
        share = hiccups.waited / (np.exp((1.0 - share) * gaps) - 1.0 + hiccups.waited)
        share = np.minimum(share, MAX_UTILISATION)
    mean_s = hiccups.waited_s / (1.0 - share)
    late = share * np.exp(np.maximum(-room_s / mean_s, LEAST_EXPONENT))
    return Wait(share * mean_s, share, late)

"""Latency of a step's requests: its mean, and how many are in time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.arrays import Floats
from envs.plant import SPREAD
from envs.scenarios.operating_conditions import OperatingConditions
from envs.sim.hiccups import LEAST_EXPONENT, MAX_UTILISATION, SHORTEST_S, TAIL_SCALE, Hiccups

SMALLEST_SHARE = 1e-9
"""Below this no request is held up; it keeps divisions finite."""


class Latency(NamedTuple):
    """Of the requests of a step.

    Attributes:
        mean_s: with all that delays them.
        deadline_hit_rate: share in time.
        held_up: share of the requests that take longer than the others.
        delay_s: mean of their extra time, which is exponentially distributed.
    """

    mean_s: Floats
    deadline_hit_rate: Floats
    held_up: Floats
    delay_s: Floats


def calm(calm_s: Floats, service_s: Floats, now: OperatingConditions) -> Latency:
    """Of requests that take `calm_s` with their queue, and all wait alike for irregular ones."""
    latency_s = calm_s + _wait_s(service_s, now)
    nobody = np.zeros_like(latency_s)
    return Latency(latency_s, in_time(latency_s, now.latency_target_s), nobody, nobody)


def scattered(
    calm_s: Floats, service_s: Floats, now: OperatingConditions, hiccups: Hiccups | None
) -> Latency:
    """Of requests some of which wait or are held up.

    Args:
        calm_s: what the others take, with their queue.
        service_s: of a request without any waiting.
        now: operating conditions.
        hiccups: that may end a request's wait; what they do themselves is not counted here.
    """
    # A request finds the board busy as often as it is, and only irregular ones then wait.
    utilisation = _utilisation(service_s, now)
    share = utilisation * ((now.arrival_scv > 0.0) * (1.0 - now.tail_share)) + now.tail_share
    held_up_s = TAIL_SCALE * service_s
    if hiccups is not None:
        held_up_s = held_up_s - hiccups.spared_s
    delay_s = _wait_s(service_s, now) + now.tail_share * held_up_s
    mean_s = delay_s / np.maximum(share, SMALLEST_SHARE)
    slack = (calm_s - now.latency_target_s) / np.maximum(mean_s, SHORTEST_S)
    late = share * np.exp(np.clip(slack, LEAST_EXPONENT, 0.0))
    if hiccups is not None:
        late = np.maximum(late - hiccups.share, 0.0)
    hit_rate = in_time(calm_s, now.latency_target_s) * (1.0 - late)
    return Latency(calm_s + delay_s, hit_rate, share, mean_s)


def with_expected(
    latency: Latency,
    calm_s: Floats,
    service_s: Floats,
    now: OperatingConditions,
    hiccups: Hiccups,
) -> Latency:
    """With what hiccups come to on average, now and in the steps that each of them outlasts."""
    room_s = np.maximum(now.latency_target_s - calm_s, 0.0)
    late = hiccups.share * hiccups.n_late(service_s, room_s, now.arrival_hz)
    delay_s = hiccups.share * hiccups.delay_s(service_s, now.arrival_hz)
    held_up = np.maximum(latency.held_up + hiccups.share, SMALLEST_SHARE)
    return Latency(
        latency.mean_s + delay_s,
        np.maximum(latency.deadline_hit_rate - late, 0.0),
        held_up,
        (latency.held_up * latency.delay_s + delay_s) / held_up,
    )


def behind(
    latency: Latency, calm_s: Floats, closed_s: Floats, now: OperatingConditions, step_s: float
) -> Latency:
    """Of requests that come while nobody is served for the first `closed_s` of a step, or longer.

    Args:
        latency: of those that come later.
        calm_s: what these take.
        closed_s: may be longer than the step.
        now: operating conditions.
        step_s: duration of the step.
    """
    after_s = np.maximum(closed_s - step_s, 0.0)
    waits_s = 0.5 * (closed_s * closed_s - after_s * after_s) / step_s
    room_s = np.maximum(now.latency_target_s - calm_s, 0.0)
    late = np.clip((closed_s - room_s) / step_s, 0.0, 1.0)
    hit_rate = latency.deadline_hit_rate * (1.0 - late)
    return latency._replace(mean_s=latency.mean_s + waits_s, deadline_hit_rate=hit_rate)


def in_time(latency_s: Floats, target_s: Floats) -> Floats:
    """Share of requests in time when they scatter by `SPREAD` around a mean."""
    margin = (target_s / latency_s) * (0.5 / SPREAD) + (0.5 - 0.5 / SPREAD)
    return np.clip(margin, 0.0, 1.0)


def _utilisation(service_s: Floats, now: OperatingConditions) -> Floats:
    return np.minimum(now.arrival_hz * service_s, MAX_UTILISATION)


def _wait_s(service_s: Floats, now: OperatingConditions) -> Floats:
    """Mean wait of irregular requests (Kingman 1961)."""
    utilisation = _utilisation(service_s, now)
    wait_s = (0.5 * now.arrival_scv) * service_s
    return np.asarray(wait_s * (utilisation / (1.0 - utilisation)))

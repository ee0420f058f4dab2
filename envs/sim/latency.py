"""Latency of a step's requests: its mean, and how many are in time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.arrays import Floats
from envs.plant import SPREAD
from envs.scenarios.operating_conditions import OperatingConditions
from envs.sim.hiccups import Hiccups
from envs.sim.waiting import Queue, by_chance

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


def calm(service_s: Floats, queue: Queue, most_s: Floats, now: OperatingConditions) -> Latency:
    """Of requests that all wait alike.

    Args:
        service_s: of a request without any waiting.
        queue: of the step.
        most_s: that requests wait by chance.
        now: operating conditions.
    """
    room_s = np.maximum(now.latency_target_s - service_s, 0.0)
    wait_s = by_chance(service_s, room_s, most_s, now, None).mean_s
    hit_rate = in_time(service_s + wait_s, now.latency_target_s) * (1.0 - queue.late(room_s))
    nobody = np.zeros_like(hit_rate)
    return Latency(service_s + wait_s + queue.mean_s, hit_rate, nobody, nobody)


def scattered(
    service_s: Floats,
    queue: Queue,
    most_s: Floats,
    now: OperatingConditions,
    hiccups: Hiccups | None,
) -> Latency:
    """Of requests some of which wait or are held up.

    Args:
        service_s: of a request without any waiting.
        queue: of the step.
        most_s: that requests wait by chance.
        now: operating conditions.
        hiccups: those held up; those the board finishes are not counted here.
    """
    room_s = np.maximum(now.latency_target_s - service_s, 0.0)
    wait = by_chance(service_s, room_s, most_s, now, hiccups)
    delay_s, share, late = wait
    if hiccups is not None:
        delay_s = delay_s + hiccups.waited * hiccups.waited_s
        share = share + (1.0 - share) * hiccups.waited
        late = late + (1.0 - late) * hiccups.late(room_s)
    hit_rate = in_time(service_s, now.latency_target_s) * (1.0 - late) * (1.0 - queue.late(room_s))
    mean_s = delay_s / np.maximum(share, SMALLEST_SHARE)
    return Latency(service_s + delay_s + queue.mean_s, hit_rate, share, mean_s)


def with_expected(
    latency: Latency, service_s: Floats, now: OperatingConditions, hiccups: Hiccups
) -> Latency:
    """With what hiccups come to on average, now and in the steps that each of them outlasts."""
    room_s = np.maximum(now.latency_target_s - service_s, 0.0)
    late = hiccups.share * hiccups.n_late(service_s, room_s, now.arrival_hz)
    delay_s = hiccups.share * hiccups.delay_s(service_s, now.arrival_hz)
    held_up = np.maximum(latency.held_up + hiccups.share, SMALLEST_SHARE)
    return Latency(
        latency.mean_s + delay_s,
        np.maximum(latency.deadline_hit_rate - late, 0.0),
        held_up,
        (latency.held_up * latency.delay_s + delay_s) / held_up,
    )


def in_time(latency_s: Floats, target_s: Floats) -> Floats:
    """Share of requests in time when they scatter by `SPREAD` around a mean."""
    margin = (target_s / latency_s) * (0.5 / SPREAD) + (0.5 - 0.5 / SPREAD)
    return np.clip(margin, 0.0, 1.0)

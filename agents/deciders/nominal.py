"""What the nominal models of device, link and server expect of each action, from readings alone.

The readings' three factors, measured over expected, correct the models while they are in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.deciders.known import Actions, Known
from envs.plant import Indices, Outcome, Readings
from envs.response import respond
from envs.surroundings import Surroundings


@dataclass(frozen=True, slots=True)
class Caution:
    """How much worse than expected things are taken to be.

    Attributes:
        link_share: share of the estimated link rate that is counted on.
        time_margin: edge computing is taken to last so many times what is expected.
    """

    link_share: float = 1.0
    time_margin: float = 1.0


def expect(
    known: Known, actions: Actions, readings: Readings, held: Indices, caution: Caution
) -> Outcome:
    """Expect what each action would do in the coming step.

    Args:
        known: about the plant.
        actions: of shape (k,), or (n, k) if each board has its own.
        readings: of n boards.
        held: action in force on each board, shape (n, n_axes).
        caution: see there.

    Returns:
        Arrays that broadcast to (n, k).
    """
    response = respond(
        known.device,
        actions.costs,
        actions.clocks,
        believed(known, readings, caution),
        readings.backlog[:, None],
        known.step_s,
    )
    accuracy = actions.costs.accuracy
    power_w = response.power_w * readings.power_factor[:, None]
    return Outcome(
        energy_j=response.energy_j * readings.power_factor[:, None],
        latency_s=response.latency_s,
        in_time=response.in_time,
        accuracy=accuracy + response.fell_back * (actions.costs.fallback_accuracy - accuracy),
        switched=(actions.indices != held[:, None, :]).mean(axis=-1),
        overheat_c=np.zeros(1),
        power_w=power_w,
        requests=response.requests,
        uplink_bytes=actions.costs.wire_bytes,
        fell_back=response.fell_back,
    )


def believed(known: Known, readings: Readings, caution: Caution) -> Surroundings:
    """Surroundings that would explain the readings, arrays of shape (n, 1)."""
    away = readings.away_factor[:, None]
    none = np.zeros(away.shape)
    return Surroundings(
        link_bps=caution.link_share * readings.link_bps[:, None] / away,
        rtt_s=readings.rtt_s[:, None] * away,
        server_load=1.0 - readings.server_idle[:, None],
        arrival_hz=readings.arrival_hz[:, None],
        ambient_c=none,
        latency_target_s=readings.latency_target_s[:, None],
        slowdown=caution.time_margin * readings.latency_factor[:, None],
        estimate_noise=none + 1.0,
        eta=readings.eta[:, None],
        radio_w=readings.radio_w[:, None],
        radio_w_per_bps=none,
        server_flops_per_s=known.server_flops_per_s / away,
        arrival_scv=readings.arrival_scv[:, None],
    )

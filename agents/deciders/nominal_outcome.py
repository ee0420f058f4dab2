"""Nominal outcome of each action by the models of device, link and server, from readings alone.

The readings' three factors, measured over expected, correct the models while they are in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.deciders.nominal import Actions, NominalModel, single
from envs.arrays import Floats
from envs.plant import Indices, Outcome, Readings
from envs.scenarios.operating_conditions import OperatingConditions
from envs.sim.response import respond


@dataclass(frozen=True, slots=True)
class SafetyMargin:
    """How much worse than expected things are taken to be.

    Attributes:
        link_share: share of the estimated link rate that is counted on.
        time_margin: edge computing is taken to last so many times what is expected.
    """

    link_share: float = 1.0
    time_margin: float = 1.0


def expect(
    known: NominalModel, actions: Actions, readings: Readings, held: Indices, caution: SafetyMargin
) -> Outcome:
    """Expect what each action would do in the coming step.

    Args:
        known: about the plant.
        actions: of shape (k,), or (n, k) if each board has its own.
        readings: of n boards.
        held: action in force on each board, shape (n, n_axes).
        caution: see there.

    Returns:
        Arrays in single precision that broadcast to (n, k).
    """
    around = estimated_conditions(readings, caution)
    governed = known.governed.factors(actions.places, around) if known.governed else None
    response = respond(
        known.device,
        actions.costs,
        actions.clocks,
        around,
        single(readings.backlog)[:, None],
        known.step_s,
        governed=governed,
        is_back_to_back=known.is_back_to_back,
    )
    accuracy = actions.costs.accuracy
    energy_j = response.energy_j * single(readings.power_factor)[:, None]
    server_j = actions.server_j * response.answered_away
    if actions.server_j.any():
        energy_j = energy_j + server_j
    power_w = response.power_w * single(readings.power_factor)[:, None]
    return Outcome(
        energy_j=energy_j,
        latency_s=response.latency_s,
        deadline_hit_rate=response.deadline_hit_rate,
        accuracy=accuracy + response.fell_back * (actions.costs.fallback_accuracy - accuracy),
        switched=(actions.indices != held[:, None, :]).mean(axis=-1, dtype=np.float32),
        overheat_c=np.zeros(1, dtype=np.float32),
        power_w=power_w,
        requests=response.requests,
        uplink_bytes=actions.costs.wire_bytes,
        fell_back=response.fell_back,
        server_j=server_j,
        held_up=response.held_up,
        delay_s=response.delay_s,
    )


def estimated_conditions(readings: Readings, caution: SafetyMargin) -> OperatingConditions:
    """Operating conditions that would explain the readings, arrays of shape (n, 1)."""

    def column(values: Floats) -> Floats:
        return single(values)[:, None]

    away = column(readings.away_factor)
    none = np.zeros_like(away)
    return OperatingConditions(
        link_bps=caution.link_share * column(readings.link_bps) / away,
        rtt_s=column(readings.rtt_s) * away,
        server_load=1.0 - column(readings.server_idle),
        arrival_hz=column(readings.arrival_hz),
        ambient_c=none,
        latency_target_s=column(readings.latency_target_s),
        slowdown=caution.time_margin * column(readings.latency_factor),
        estimate_draw=none,
        eta=column(readings.eta),
        radio_w=column(readings.radio_w),
        radio_w_per_bps=none,
        server_flops_per_s=column(readings.server_flops_per_s) / away,
        arrival_scv=column(readings.arrival_scv),
        hidden_load=none,
        background_load=none,
        tail_share=none,
    )

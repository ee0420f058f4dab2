"""Operating conditions of a board during one control step, whether they can be observed or not."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from envs.arrays import Floats

NONE = np.zeros(1)
ONE = np.ones(1)


@dataclass(frozen=True, slots=True)
class UnitVariation:
    """How single boards differ from the model of their kind, factors of shape (n,).

    Attributes:
        work: on the time of everything that is computed.
        idle_power: on the power without load.
        busy_power: on what load adds.
        resistance: on the thermal resistance.
        estimate: on the estimate of the link's rate.
    """

    work: Floats
    idle_power: Floats
    busy_power: Floats
    resistance: Floats
    estimate: Floats


@dataclass(frozen=True, slots=True)
class BelievedLink:
    """What the cloud's client takes link and server for when it decides to send, shape (n,).

    Attributes:
        link_bps: latest estimate of the uplink rate.
        rtt_s: latest round trip.
        server_flops_per_s: speed of the server were it idle, by its latest replies.
    """

    link_bps: Floats
    rtt_s: Floats
    server_flops_per_s: Floats


@dataclass(frozen=True, slots=True)
class OperatingConditions:
    """Operating conditions of `n` boards during one control step; arrays of shape (n,).

    Those with a default are neutral, for plans without them.

    Attributes:
        link_bps: uplink rate.
        rtt_s: round-trip time of an empty call.
        server_load: busy share of the server as it reports it.
        arrival_hz: request rate.
        ambient_c: air temperature.
        latency_target_s: time within which a request counts as in time.
        slowdown: factor on everything that the board computes, from bursts of other work.
        estimate_draw: standard normal, where in its scatter a link rate lies that is estimated now.
        eta: weight of energy against time.
        radio_w: extra power while the radio sends.
        radio_w_per_bps: its growth with the link rate.
        server_flops_per_s: speed of the idle server.
        usual_server_flops_per_s: what it is taken for before it has answered.
        arrival_scv: squared coefficient of variation of the time between requests.
        hidden_load: busy share of what the report shows as idle.
        background_load: share of the CPU that other programs take.
        resistance_scale: factor of fan and enclosure on the thermal resistance.
        decision_s: time that a decision takes.
        tail_share: share of the requests that are held up.
        temperature_bias_c: error of the temperature reading.
        link_blind: 1 while the link's estimate gets no update, else 0.
        power_stuck: 1 while the power reading does not change, else 0.
        hiccup_draw: uniform in [0, 1), decides whether an answer is held up so long that the board
            finishes; None where what that comes to on average is wanted.
        build: differences of the boards from their model, if any.
        believed_link: None where the client knows the link as it is.
    """

    link_bps: Floats
    rtt_s: Floats
    server_load: Floats
    arrival_hz: Floats
    ambient_c: Floats
    latency_target_s: Floats
    slowdown: Floats
    estimate_draw: Floats
    eta: Floats
    radio_w: Floats
    radio_w_per_bps: Floats
    server_flops_per_s: Floats
    arrival_scv: Floats
    usual_server_flops_per_s: Floats = field(default_factory=lambda: ONE)
    hidden_load: Floats = field(default_factory=lambda: NONE)
    background_load: Floats = field(default_factory=lambda: NONE)
    resistance_scale: Floats = field(default_factory=lambda: ONE)
    decision_s: Floats = field(default_factory=lambda: NONE)
    tail_share: Floats = field(default_factory=lambda: NONE)
    temperature_bias_c: Floats = field(default_factory=lambda: NONE)
    link_blind: Floats = field(default_factory=lambda: NONE)
    power_stuck: Floats = field(default_factory=lambda: NONE)
    hiccup_draw: Floats | None = None
    build: UnitVariation | None = None
    believed_link: BelievedLink | None = None

    def for_actions(self, boards: slice, n_axes: int) -> OperatingConditions:
        """Pick some boards and give every array `n_axes` more, to broadcast over actions.

        In single precision, which halves the time that many actions take.
        """

        def widen(values: Floats) -> Floats:
            return values[boards].reshape(-1, *(1,) * n_axes).astype(np.float32)

        changes: dict[str, Any] = {}
        for field_ in fields(self):
            value = getattr(self, field_.name)
            match value:
                case None:
                    pass
                case UnitVariation() | BelievedLink():
                    kind = type(value)
                    changes[field_.name] = kind(
                        *(widen(getattr(value, f.name)) for f in fields(kind))
                    )
                case _:
                    changes[field_.name] = widen(value)
        return OperatingConditions(**changes)

"""The plant, control theory's word for what is controlled: boards with a split network on them.

The environment classes hold the task (spaces, cost, episodes); a plant holds the physics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats

Indices = NDArray[np.int64]
SPREAD = 0.05
"""Half-width of a step's latencies around their mean; repeats on a TX2 scatter by 1-2 %."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What a decision may rest on, for `n` boards; arrays of shape (n,) unless noted.

    Attributes:
        link_bps: latest estimate of the uplink rate.
        link_age_s: age of that estimate.
        rtt_s: latest round-trip time without payload.
        server_idle: idle share of the server, one minus the latest load that it reported.
        server_flops_per_s: speed of the server were it idle, as the computing times of its replies
            show it; the usual one before there were any, and again when they are long ago.
        arrival_hz: request rate.
        arrival_scv: squared coefficient of variation of the time between requests.
        backlog: requests waiting.
        latency_target_s: time within which a request counts as in time.
        eta: weight of energy against time.
        radio_w: power of the radio while it sends at the estimated rate.
        temperature_margin_c: distance to the throttling temperature, negative beyond it.
        latency_s: mean latency during the last step.
        power_w: mean power during the last step as the sensor shows it.
        clocks_hz: clocks as read back, shape (n, n_domains).
        edge_share: share of the network's operations before the cut in force.
        decision_s: time that the last decision took.
        latency_factor: time of the board's own computing over what the nominal device model
            expects at the clocks read back, smoothed; 1 is as modelled, and without a model.
        away_factor: time that an answer from the cloud took over what the estimated link and the
            reported load let expect, smoothed; forgotten while nothing is sent.
        power_factor: power over what the nominal model expects, smoothed.
        busy: share of the last step during which the board computed.
        battery_level: charge of the battery, 0..1; 1 on mains.
    """

    link_bps: Floats
    link_age_s: Floats
    rtt_s: Floats
    server_idle: Floats
    server_flops_per_s: Floats
    arrival_hz: Floats
    arrival_scv: Floats
    backlog: Floats
    latency_target_s: Floats
    eta: Floats
    radio_w: Floats
    temperature_margin_c: Floats
    latency_s: Floats
    power_w: Floats
    clocks_hz: Floats
    edge_share: Floats
    decision_s: Floats
    latency_factor: Floats
    away_factor: Floats
    power_factor: Floats
    busy: Floats
    battery_level: Floats

    def select(self, boards: slice) -> Readings:
        """Readings of some boards."""
        return Readings(*(getattr(self, f.name)[boards] for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one control step cost, for `n` boards; arrays of shape (n,), or broadcast over actions.

    Attributes:
        energy_j: energy of the board per request expected in the step, see
            `envs.energy_per_request`; with that of the server where a scenario counts it.
        latency_s: mean time from a request's arrival to its answer.
        deadline_hit_rate: share of requests answered within the latency target.
        accuracy: share of right answers where a table measured it, or what is left of the unsplit
            network's answer; NaN where it is unknown, of all routes or of none.
        switched: share of action axes that changed against the step before.
        overheat_c: temperature above the throttling point.
        power_w: mean power of the board.
        requests: requests answered.
        uplink_bytes: bytes sent per request.
        fell_back: share of requests that the cloud should have answered but did not in time.
        server_j: of it the server's, J per request, where a scenario counts that.
        held_up: share of requests in the tail of the latency distribution, which are delayed.
        delay_s: mean of their extra time, which is exponentially distributed.
    """

    energy_j: Floats
    latency_s: Floats
    deadline_hit_rate: Floats
    accuracy: Floats
    switched: Floats
    overheat_c: Floats
    power_w: Floats
    requests: Floats
    uplink_bytes: Floats
    fell_back: Floats
    server_j: Floats = field(default_factory=lambda: np.zeros(1))
    held_up: Floats = field(default_factory=lambda: np.zeros(1))
    delay_s: Floats = field(default_factory=lambda: np.zeros(1))

    def latency_quantile_s(self, share: float) -> Floats:
        """Latency that this share of the requests, in (0, 1), does not exceed."""
        calm_s = self.latency_s - self.held_up * self.delay_s
        excess = np.maximum(self.held_up / (1.0 - share), 1.0)
        scatter = 1.0 + SPREAD * (2.0 * share - 1.0)
        return scatter * (calm_s + self.delay_s * np.log(excess))

    def map(self, function: Callable[[Floats], Floats]) -> Outcome:
        """Apply a function to every array."""
        return Outcome(*(function(getattr(self, f.name)) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension of the action: a clock domain or the route.

    Attributes:
        name: "cpu", "gpu", "emc", ... or "route".
        values: clocks in Hz ascending, or indices into `ModelFolder.routes`.
    """

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """What a policy must know about a plant to be usable on it.

    Attributes:
        board: name of the board.
        board_fingerprint: hash of its clock tables.
        model: name of the network.
        cut_list_fingerprint: hash of its routes.
        axes: action axes, clocks first, the route last; a clock with a single value is none.
        max_power_w: the board's power with everything busy at maximum clocks.
    """

    board: str
    board_fingerprint: str
    model: str
    cut_list_fingerprint: str
    axes: tuple[Axis, ...]
    max_power_w: float

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the clock domains."""
        return tuple(axis.name for axis in self.axes[:-1])


class Plant(Protocol):
    """One board (n = 1) with a network on it.

    Attributes:
        layout: of the board and the network.
        n_steps: control steps in an episode.
        step_s: duration of a control step that is not late.
        late_s: time by which the last step began after it was due; 0 where time is simulated.
    """

    layout: Layout
    n_steps: int
    step_s: float
    late_s: float

    def reset(self, seeds: NDArray[np.uint64]) -> Readings:
        """Begin an episode, one seed per board."""

    def step(self, actions: Indices) -> Outcome:
        """Apply actions, shape (n, n_axes), and serve requests for one control step."""

    def readings(self) -> Readings:
        """Readings after the last step."""

    def close(self) -> None:
        """Give everything back."""

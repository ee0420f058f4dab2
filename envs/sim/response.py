"""Response of a board with a split network to its clocks, split point and operating conditions.

The one place where frequency meets latency: elementwise, stateless, and broadcasting, so that
the same lines serve one board, thousands of boards, and every action of a board at once.
All of it is modelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats
from envs.energy_per_request import energy_per_request_j
from envs.plant import SPREAD
from envs.scenarios.operating_conditions import OperatingConditions
from envs.sim.clocks import Clocks
from envs.sim.effects import Effects
from envs.sim.split_costs import SplitCosts
from hw.device.model import Demand, DeviceModel
from partition.edge.offload_rule import is_hopeless, patience_s

MAX_BACKLOG = 4.0
"""Requests that may wait; more are dropped and count as late."""
MAX_UTILISATION = 0.9
"""Utilisation at which the random part of the queueing delay stops growing."""
TAIL_SCALE = 1.0
"""Mean delay of a request that is held up, in times of its service; assumed."""
ALL = Effects()
LEAST_EXPONENT = -30.0
"""Below this no request is late; smaller numbers would only be slow."""
SMALLEST_SHARE, SHORTEST_S = 1e-9, 1e-9
"""Below these no request is held up; they keep divisions finite."""


@dataclass(frozen=True, slots=True)
class Response:
    """What happened during a step; see `envs.plant.Outcome` for the shared names.

    Attributes:
        sent: whether requests were sent at all.
        served_hz: requests answered per second.
        work: of the board per request.
        away_s: time that a request waited for the cloud.
        background_load: share of the CPU that other programs took.
        held_up: share of the requests that take longer than the others.
        delay_s: mean of their extra time, which is exponentially distributed.
    """

    latency_s: Floats
    deadline_hit_rate: Floats
    energy_j: Floats
    power_w: Floats
    backlog: Floats
    requests: Floats
    fell_back: Floats
    sent: NDArray[np.bool_]
    served_hz: Floats
    work: Work
    away_s: Floats
    background_load: Floats
    held_up: Floats
    delay_s: Floats

    @property
    def edge_s(self) -> Floats:
        """Computing time on the board per request."""
        return self.work.edge_s

    @property
    def cpu_util(self) -> Floats:
        """Share of the time during which the CPU is busy, 0..1."""
        head, tail = self.work.head.cpu_s, self.work.tail.cpu_s
        mine = (head + self.fell_back * tail) * (1.0 - self.background_load)
        return np.minimum(self.served_hz * mine + self.background_load, 1.0)

    @property
    def gpu_util(self) -> Floats:
        """The same of the GPU."""
        busy_s = self.work.head.gpu_s + self.fell_back * self.work.tail.gpu_s
        return np.minimum(self.served_hz * busy_s, 1.0)


class Busy(NamedTuple):
    """Time that a piece of the network takes on the board."""

    cpu_s: Floats
    gpu_s: Floats
    total_s: Floats


class Work(NamedTuple):
    """What one request takes on the board: the head, after a fallback the tail too."""

    head: Busy
    tail: Busy
    edge_s: Floats


class _Service(NamedTuple):
    """One request without any waiting."""

    work: Work
    send_s: Floats
    """Time on the link; 0 where it was not sent."""
    away_s: Floats
    late: NDArray[np.bool_]
    """Whether the board had to finish."""
    sent: NDArray[np.bool_]


class _Scatter(NamedTuple):
    """Extra time of single requests: a share of them gets an exponential one."""

    share: Floats
    mean_s: Floats


def respond(
    device: DeviceModel,
    costs: SplitCosts,
    clocks: Clocks,
    now: OperatingConditions,
    backlog: Floats,
    step_s: float,
    effects: Effects = ALL,
    *,
    paused_s: Floats | None = None,
) -> Response:
    """Serve one control step.

    Args:
        device: model of the board.
        costs: of the split point in force, already gathered.
        clocks: in force.
        now: operating conditions during the step.
        backlog: requests waiting at its beginning.
        step_s: its duration.
        effects: that are simulated.
        paused_s: time at its beginning during which nothing is served, if any.
    """
    service = _serve(costs, clocks, now)
    service_s = service.work.edge_s + service.away_s
    offered = backlog + now.arrival_hz * step_s
    open_s = step_s if paused_s is None else step_s - paused_s
    requests = np.minimum(offered, open_s / service_s)
    left = offered - requests
    kept = np.minimum(left, MAX_BACKLOG) if effects.queueing else np.zeros_like(left)
    calm_s = service_s * (1.0 + 0.5 * (backlog + kept))
    if paused_s is not None:
        calm_s = calm_s + paused_s * (paused_s * (0.5 / step_s))
    latency_s, deadline_hit_rate, scatter = _latency(calm_s, service_s, now, effects)
    served_hz = requests * (1.0 / step_s)
    power_w = _power_w(device, costs, clocks, now, service, served_hz)
    return Response(
        latency_s=latency_s,
        deadline_hit_rate=deadline_hit_rate * (1.0 - (left - kept) / offered),
        energy_j=energy_per_request_j(power_w, now.arrival_hz),
        power_w=power_w,
        backlog=kept,
        requests=requests,
        fell_back=service.late.astype(latency_s.dtype),
        sent=service.sent,
        served_hz=served_hz,
        work=service.work,
        away_s=service.away_s,
        background_load=now.background_load,
        held_up=scatter.share,
        delay_s=scatter.mean_s,
    )


def _serve(costs: SplitCosts, clocks: Clocks, now: OperatingConditions) -> _Service:
    """Follow one request through the board, the link and the server."""
    slowdown = now.slowdown if now.build is None else now.slowdown * now.build.work
    head = _busy(costs.head, clocks, slowdown, now.background_load)
    send_s = costs.wire_bytes * 8.0 / now.link_bps
    idle = (1.0 - now.server_load) * (1.0 - now.hidden_load)
    cloud_s = costs.tail_flops / (now.server_flops_per_s * idle)
    away_s = np.where(costs.wire_bytes > 0.0, send_s + now.rtt_s + cloud_s, 0.0 * cloud_s)
    expected_s = away_s
    if (link := now.believed_link) is not None:
        expected_s = costs.wire_bytes * 8.0 / link.link_bps + link.rtt_s + cloud_s
    tail = _busy(costs.tail, clocks, slowdown, now.background_load)
    waits_s = patience_s(now.latency_target_s - head.total_s, tail.total_s, expected_s)
    sent = (costs.wire_bytes > 0.0) & ~is_hopeless(expected_s, waits_s)
    late = ((away_s > waits_s) | ~sent) & (costs.wire_bytes > 0.0)
    edge_s = head.total_s + late * tail.total_s
    return _Service(
        Work(head, tail, edge_s), send_s * sent, np.minimum(away_s, waits_s) * sent, late, sent
    )


def _busy(demand: Demand, clocks: Clocks, slowdown: Floats, background_load: Floats) -> Busy:
    cpu_s, gpu_s = demand.busy_s(clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)
    cpu_s, gpu_s = cpu_s * (slowdown / (1.0 - background_load)), gpu_s * slowdown
    return Busy(cpu_s, gpu_s, (demand.fixed_s + cpu_s) + gpu_s)


def _latency(
    calm_s: Floats, service_s: Floats, now: OperatingConditions, effects: Effects
) -> tuple[Floats, Floats, _Scatter]:
    """Mean latency and share in time of requests that take `calm_s` unless they are held up."""
    utilisation = np.minimum(now.arrival_hz * service_s, MAX_UTILISATION)
    wait_s = (0.5 * now.arrival_scv) * service_s  # Kingman 1961
    wait_s = wait_s * (utilisation / (1.0 - utilisation))
    if not effects.latency_tails:
        latency_s = calm_s + wait_s
        nobody = np.zeros_like(latency_s)
        return latency_s, _in_time(latency_s, now.latency_target_s), _Scatter(nobody, nobody)
    # A request finds the board busy as often as it is, and only irregular ones then wait.
    share = utilisation * ((now.arrival_scv > 0.0) * (1.0 - now.tail_share)) + now.tail_share
    delay_s = wait_s + (TAIL_SCALE * now.tail_share) * service_s
    mean_s = delay_s / np.maximum(share, SMALLEST_SHARE)
    slack = (calm_s - now.latency_target_s) / np.maximum(mean_s, SHORTEST_S)
    late = share * np.exp(np.clip(slack, LEAST_EXPONENT, 0.0))
    deadline_hit_rate = _in_time(calm_s, now.latency_target_s) * (1.0 - late)
    return calm_s + delay_s, deadline_hit_rate, _Scatter(share, mean_s)


def _in_time(latency_s: Floats, target_s: Floats) -> Floats:
    """Share of requests in time when they scatter by `SPREAD` around a mean."""
    margin = (target_s / latency_s) * (0.5 / SPREAD) + (0.5 - 0.5 / SPREAD)
    return np.clip(margin, 0.0, 1.0)


def _power_w(
    device: DeviceModel,
    costs: SplitCosts,
    clocks: Clocks,
    now: OperatingConditions,
    service: _Service,
    served_hz: Floats,
) -> Floats:
    """Mean power: what an idle board draws, and the energy of each request.

    The device's power is linear in the time that its units are busy, so that the energy of a
    request is a sum of terms, each of which depends on few axes of a grid of actions.
    """
    model = device.power
    cpu_w = model.cpu_load_w(clocks.cpu_hz)
    gpu_w = model.gpu_load_w(clocks.gpu_hz, clocks.emc_hz)
    idle_w = model.idle_w(clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)
    free_w = cpu_w * (1.0 - now.background_load)  # the network's cycles, not those it waits for
    head, tail, _ = service.work
    memory_j = costs.traffic_bytes * model.memory_j_per_byte
    busy_j = (head.cpu_s * free_w + memory_j) + head.gpu_s * gpu_w
    if service.late.any():
        busy_j = busy_j + service.late * (tail.cpu_s * free_w + tail.gpu_s * gpu_w)
    other_w = cpu_w * now.background_load
    if now.build is not None:
        idle_w, busy_j = idle_w * now.build.idle_power, busy_j * now.build.busy_power
        other_w = other_w * now.build.busy_power
    radio_w = now.radio_w + now.radio_w_per_bps * now.link_bps
    radio_j = np.minimum(service.send_s, service.away_s) * radio_w
    return np.asarray((idle_w + other_w) + served_hz * (busy_j + radio_j))

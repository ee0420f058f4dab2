"""How a board with a split network responds to its clocks, its split point and its surroundings.

The one place where frequency meets latency: elementwise, stateless, and broadcasting, so that
the same lines serve one board, thousands of boards, and every action of a board at once.
All of it is modelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from envs.clocks import Clocks
from envs.effects import Effects
from envs.plant import SPREAD
from envs.signals import Floats
from envs.split_costs import SplitCosts
from envs.surroundings import Surroundings
from hw.device import Demand, DeviceModel

MAX_BACKLOG = 4.0
"""Requests that may wait; more are dropped and count as late."""
MAX_UTILISATION = 0.9
"""Utilisation at which the random part of the queueing delay stops growing."""
TAIL_SCALE = 1.0
"""Mean delay of a request that is held up, in times of its service; assumed."""
ALL = Effects()


@dataclass(frozen=True, slots=True)
class Response:
    """What happened during a step; see `envs.plant.Outcome` for the shared names.

    Attributes:
        edge_s: computing time on the board per request.
        away_s: time that a request waited for the cloud.
        held_up: share of the requests that take longer than the others.
        delay_s: mean of their extra time, which is exponentially distributed.
    """

    latency_s: Floats
    in_time: Floats
    energy_j: Floats
    power_w: Floats
    backlog: Floats
    requests: Floats
    fell_back: Floats
    cpu_util: Floats
    gpu_util: Floats
    edge_s: Floats
    away_s: Floats
    held_up: Floats
    delay_s: Floats


class _Service(NamedTuple):
    """One request without any waiting: time by unit, and whether the cloud was too late."""

    cpu_s: Floats
    gpu_s: Floats
    edge_s: Floats
    away_s: Floats
    send_s: Floats
    late: Floats


class _Scatter(NamedTuple):
    """Extra time of single requests: a share of them gets an exponential one."""

    share: Floats
    mean_s: Floats


def respond(
    device: DeviceModel,
    costs: SplitCosts,
    clocks: Clocks,
    now: Surroundings,
    backlog: Floats,
    step_s: float,
    effects: Effects = ALL,
    *,
    paused_s: Floats | float = 0.0,
) -> Response:
    """Serve one control step.

    Args:
        device: model of the board.
        costs: of the split point in force, already gathered.
        clocks: in force.
        now: surroundings during the step.
        backlog: requests waiting at its beginning.
        step_s: its duration.
        effects: that are simulated.
        paused_s: time at its beginning during which nothing is served.
    """
    service = _serve(costs, clocks, now)
    service_s = service.edge_s + service.away_s
    offered = backlog + now.arrival_hz * step_s
    requests = np.minimum(offered, (step_s - paused_s) / service_s)
    left = offered - requests
    kept = np.minimum(left, MAX_BACKLOG) if effects.queueing else np.zeros_like(left)
    calm_s = service_s * (1.0 + 0.5 * (backlog + kept)) + 0.5 * paused_s * (paused_s / step_s)
    latency_s, in_time, scatter = _latency(calm_s, service_s, now, effects)
    per_s = requests / step_s
    cpu_util = np.minimum(per_s * service.cpu_s + now.background_load, 1.0)
    gpu_util = np.minimum(per_s * service.gpu_s, 1.0)
    traffic = per_s * costs.traffic_bytes
    board_w = _board_w(device, clocks, now, cpu_util, gpu_util, traffic)
    sending = per_s * np.minimum(service.send_s, service.away_s)
    power_w = board_w + sending * (now.radio_w + now.radio_w_per_bps * now.link_bps)
    return Response(
        latency_s=latency_s,
        in_time=in_time * (1.0 - (left - kept) / offered),
        energy_j=power_w / now.arrival_hz,
        power_w=power_w,
        backlog=kept,
        requests=requests,
        fell_back=service.late,
        cpu_util=cpu_util,
        gpu_util=gpu_util,
        edge_s=service.edge_s,
        away_s=service.away_s,
        held_up=scatter.share,
        delay_s=scatter.mean_s,
    )


def _serve(costs: SplitCosts, clocks: Clocks, now: Surroundings) -> _Service:
    """Follow one request through the board, the link and the server."""
    slowdown = now.slowdown if now.build is None else now.slowdown * now.build.work
    cpu_s, gpu_s, head_s = _edge_time(costs.head, clocks, slowdown, now.background_load)
    send_s = costs.wire_bytes * 8.0 / now.link_bps
    idle = (1.0 - now.server_load) * (1.0 - now.hidden_load)
    cloud_s = costs.tail_flops / (now.server_flops_per_s * idle)
    away_s = np.where(costs.wire_bytes > 0.0, send_s + now.rtt_s + cloud_s, 0.0)

    # Whoever waits too long for the cloud finishes alone, as `SplitPipeline.infer` does.
    tail = _edge_time(costs.tail, clocks, slowdown, now.background_load)
    left_s = np.maximum(now.latency_target_s - head_s, 0.0)
    patience_s = np.where(tail[2] < 0.5 * left_s, left_s - tail[2], left_s)
    late = (away_s > patience_s).astype(np.float64)
    return _Service(
        cpu_s=(cpu_s + late * tail[0]) * (1.0 - now.background_load),
        gpu_s=gpu_s + late * tail[1],
        edge_s=head_s + late * tail[2],
        away_s=np.minimum(away_s, patience_s),
        send_s=send_s,
        late=late,
    )


def _edge_time(
    demand: Demand, clocks: Clocks, slowdown: Floats, background_load: Floats
) -> tuple[Floats, Floats, Floats]:
    """Seconds of CPU, of GPU, and in all, that a piece of the network takes on the board."""
    cpu_s, gpu_s = demand.busy_s(clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)
    cpu_s, gpu_s = cpu_s * (slowdown / (1.0 - background_load)), gpu_s * slowdown
    return cpu_s, gpu_s, demand.fixed_s + cpu_s + gpu_s


def _latency(
    calm_s: Floats, service_s: Floats, now: Surroundings, effects: Effects
) -> tuple[Floats, Floats, _Scatter]:
    """Mean latency and share in time of requests that take `calm_s` unless they are held up."""
    utilisation = np.minimum(now.arrival_hz * service_s, MAX_UTILISATION)
    wait_s = 0.5 * now.arrival_scv * utilisation / (1.0 - utilisation) * service_s  # Kingman 1961
    if not effects.latency_tails:
        latency_s = calm_s + wait_s
        nobody = np.zeros_like(latency_s)
        return latency_s, _in_time(latency_s, now.latency_target_s), _Scatter(nobody, nobody)
    # A request finds the board busy as often as it is, and only irregular ones then wait.
    waiting = utilisation * (now.arrival_scv > 0.0)
    share = waiting + now.tail_share * (1.0 - waiting)
    delay_s = wait_s + now.tail_share * (TAIL_SCALE * service_s)
    mean_s = delay_s / np.maximum(share, 1e-9)
    slack_s = np.maximum(now.latency_target_s - calm_s, 0.0)
    late = share * np.exp(-slack_s / np.maximum(mean_s, 1e-9))
    in_time = _in_time(calm_s, now.latency_target_s) * (1.0 - late)
    return calm_s + delay_s, in_time, _Scatter(share, mean_s)


def _in_time(latency_s: Floats, target_s: Floats) -> Floats:
    """Share of requests in time when they scatter by `SPREAD` around a mean."""
    margin = (target_s / latency_s - 1.0) / SPREAD
    return np.clip(0.5 * (margin + 1.0), 0.0, 1.0)


def _board_w(
    device: DeviceModel,
    clocks: Clocks,
    now: Surroundings,
    cpu_util: Floats,
    gpu_util: Floats,
    traffic_bytes_per_s: Floats,
) -> Floats:
    """Power of the board without its radio, as this very board draws it."""
    hz = (clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)
    load = {"cpu_util": cpu_util, "gpu_util": gpu_util, "traffic_bytes_per_s": traffic_bytes_per_s}
    board_w = device.total_power_w(*hz, **load)
    if now.build is None:
        return board_w
    idle_w = device.total_power_w(*hz, **dict.fromkeys(load, 0.0))
    build = now.build
    return np.asarray(idle_w * build.idle_power + (board_w - idle_w) * build.busy_power)

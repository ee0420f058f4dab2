"""How a board with a split network responds to its clocks, its split point and its surroundings.

The one place where frequency meets latency: elementwise, stateless, and broadcasting, so that
the same lines serve one board, thousands of boards, and every action of a board at once.
All of it is modelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.clocks import Clocks
from envs.scenario import Surroundings
from envs.signals import Floats
from envs.split_costs import SplitCosts
from hw.device import Demand, DeviceModel

MAX_BACKLOG = 4.0
"""Requests that may wait; more are dropped and count as late."""
SPREAD = 0.05
"""Half-width of a step's latencies around their mean; repeats on a TX2 scatter by 1-2 %."""
MAX_UTILISATION = 0.9
"""Utilisation at which the random part of the queueing delay stops growing."""


@dataclass(frozen=True, slots=True)
class Response:
    """What happened during a step; see `envs.plant.Outcome` for the shared names.

    Attributes:
        edge_s: computing time on the board per request.
        away_s: time that a request waited for the cloud.
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


def respond(
    device: DeviceModel,
    costs: SplitCosts,
    clocks: Clocks,
    now: Surroundings,
    backlog: Floats,
    step_s: float,
) -> Response:
    """Serve one control step.

    Args:
        device: model of the board.
        costs: of the split point in force, already gathered.
        clocks: in force.
        now: surroundings during the step.
        backlog: requests waiting at its beginning.
        step_s: its duration.
    """
    cpu_s, gpu_s, head_s = _edge_time(costs.head, clocks, now.slowdown)
    send_s = costs.wire_bytes * 8.0 / now.link_bps
    cloud_s = costs.tail_flops / (now.server_flops_per_s * (1.0 - now.server_load))
    away_s = np.where(costs.wire_bytes > 0.0, send_s + now.rtt_s + cloud_s, 0.0)

    # Whoever waits too long for the cloud finishes alone, as `SplitPipeline.infer` does.
    tail_cpu_s, tail_gpu_s, tail_s = _edge_time(costs.tail, clocks, now.slowdown)
    left_s = np.maximum(now.latency_target_s - head_s, 0.0)
    patience_s = np.where(tail_s < 0.5 * left_s, left_s - tail_s, left_s)
    late = away_s > patience_s
    cpu_s, gpu_s = cpu_s + late * tail_cpu_s, gpu_s + late * tail_gpu_s
    away_s = np.minimum(away_s, patience_s)
    edge_s = head_s + late * tail_s
    service_s = edge_s + away_s

    offered = backlog + now.arrival_hz * step_s
    requests = np.minimum(offered, step_s / service_s)
    left = offered - requests
    kept = np.minimum(left, MAX_BACKLOG)
    latency_s = service_s * (1.0 + 0.5 * (backlog + kept)) + _random_wait(service_s, now)

    margin = (now.latency_target_s / latency_s - 1.0) / SPREAD
    in_time = np.clip(0.5 * (margin + 1.0), 0.0, 1.0) * (1.0 - (left - kept) / offered)

    per_s = requests / step_s
    cpu_util = np.minimum(per_s * cpu_s, 1.0)
    gpu_util = np.minimum(per_s * gpu_s, 1.0)
    board_w = device.total_power_w(
        clocks.cpu_hz,
        clocks.gpu_hz,
        clocks.emc_hz,
        cpu_util=cpu_util,
        gpu_util=gpu_util,
        traffic_bytes_per_s=per_s * costs.traffic_bytes,
    )
    sending = per_s * np.minimum(send_s, away_s)
    power_w = board_w + sending * (now.radio_w + now.radio_w_per_bps * now.link_bps)
    return Response(
        latency_s=latency_s,
        in_time=in_time,
        energy_j=power_w / now.arrival_hz,
        power_w=power_w,
        backlog=kept,
        requests=requests,
        fell_back=late.astype(np.float64),
        cpu_util=cpu_util,
        gpu_util=gpu_util,
        edge_s=edge_s,
        away_s=away_s,
    )


def _edge_time(demand: Demand, clocks: Clocks, slowdown: Floats) -> tuple[Floats, Floats, Floats]:
    """Seconds of CPU, of GPU, and in all, that a piece of the network takes on the board."""
    cpu_s, gpu_s = demand.busy_s(clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)
    cpu_s, gpu_s = cpu_s * slowdown, gpu_s * slowdown
    return cpu_s, gpu_s, demand.fixed_s + cpu_s + gpu_s


def _random_wait(service_s: Floats, now: Surroundings) -> Floats:
    """Mean wait that irregular arrivals cause at constant service time (Kingman 1961)."""
    utilisation = np.minimum(now.arrival_hz * service_s, MAX_UTILISATION)
    wait_s: Floats = 0.5 * now.arrival_scv * utilisation / (1.0 - utilisation) * service_s
    return wait_s

"""Response of a board with a split network to its clocks, split point and operating conditions.

The one place where frequency meets latency: elementwise, stateless, and broadcasting, so that
the same lines serve one board, thousands of boards, and every action of a board at once.
All of it is modelled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats
from envs.energy_per_request import energy_per_request_j
from envs.governed.table import GovernedFactors
from envs.scenarios.operating_conditions import OperatingConditions
from envs.sim import latency
from envs.sim.clocks import Clocks
from envs.sim.effects import Effects
from envs.sim.finishing import Busy, Finish, busy, finish, top_clocks
from envs.sim.hiccups import Hiccups
from envs.sim.split_costs import SplitCosts
from envs.sim.waiting import Queue
from hw.device.model import DeviceModel
from partition.edge.offload_rule import is_hopeless, patience_s

MAX_BACKLOG = 4.0
"""Requests that may wait; more are dropped and count as late."""
ALONE_HZ = 1e-6
"""Rate of requests none of which meets another."""
LEAST_SHARE = 0.25
"""Of the requests that a board could answer, where a hiccup takes the whole step: a rate of 0 would
be shared by no request."""
ALL = Effects()


@dataclass(frozen=True, slots=True)
class Response:
    """What happened during a step; see `envs.plant.Outcome` for the shared names.

    Attributes:
        blocked_s: time of the next step in which the board is still busy with a hiccup.
        fell_back: share of the requests that the board finished.
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
    blocked_s: Floats
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
    def answered_away(self) -> Floats:
        """Share of the requests that the server answers."""
        return np.asarray(self.sent * (1.0 - self.fell_back))

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


class Work(NamedTuple):
    """What one request takes on the board: the head, after a fallback the tail too."""

    head: Busy | Finish
    """The latter where clocks are raised for each request."""
    tail: Finish
    edge_s: Floats


class _Service(NamedTuple):
    """One request without any waiting for others."""

    work: Work
    send_s: Floats
    """Time on the link; 0 where it was not sent."""
    away_s: Floats
    late: NDArray[np.bool_]
    """Whether the board had to finish."""
    sent: NDArray[np.bool_]
    waits_s: Floats
    """After which the board gives up."""
    left_s: Floats
    """Until the deadline, when it is sent."""


def respond(
    device: DeviceModel,
    costs: SplitCosts,
    clocks: Clocks,
    now: OperatingConditions,
    backlog: Floats,
    step_s: float,
    effects: Effects = ALL,
    *,
    closed_s: Floats | None = None,
    governed: GovernedFactors | None = None,
    top: Clocks | None = None,
    rest: Clocks | None = None,
    is_back_to_back: bool = False,
) -> Response:
    """Serve one control step.

    Args:
        device: model of the board.
        costs: of the split point in force, already gathered.
        clocks: in force, or their caps.
        now: operating conditions during the step; with `hiccup_draw`, hiccups come or do not, else
            they count with what they come to on average.
        backlog: requests waiting at its beginning.
        step_s: its duration.
        effects: that are simulated.
        closed_s: time from its beginning during which nobody is served, if any.
        governed: what governors below the clocks come to; None where clocks are pinned.
        top: the highest clocks that the board may have; None: the device's.
        rest: between requests, for each of which they are raised; None: they stay as they are.
        is_back_to_back: each request comes when the one before has its answer, whatever the rate
            of the operating conditions.
    """
    service = _serve(device, costs, clocks, now, governed, top, rest)
    service_s = service.work.edge_s + service.away_s
    hiccups = _hiccups(service, now, effects)
    offered = np.asarray(backlog + now.arrival_hz * step_s)
    if is_back_to_back:  # as many as can be answered, none of which waits for another
        offered = np.full_like(offered, np.inf)
        now = replace(now, arrival_hz=np.full_like(now.arrival_hz, ALONE_HZ))
    usual_s, n_hiccups = service_s, None
    if hiccups is not None:
        usual_s = service_s + hiccups.waited * hiccups.waited_s
    mean_s = usual_s
    if hiccups is not None and now.hiccup_draw is None:
        mean_s = usual_s + hiccups.share * hiccups.extra_s
    elif hiccups is not None and now.hiccup_draw is not None:
        # Each of a closed loop waits for the one before, hiccups included.
        takes_s = usual_s + is_back_to_back * hiccups.share * hiccups.extra_s
        able = np.minimum(offered, _open_s(closed_s, step_s) / takes_s)
        n_hiccups = np.floor(hiccups.share * able + now.hiccup_draw)
        more_s = n_hiccups * hiccups.extra_s
        closed_s = more_s if closed_s is None else closed_s + more_s
    requests = np.minimum(offered, _open_s(closed_s, step_s) / mean_s)
    fell_back = service.late.astype(requests.dtype)
    if n_hiccups is not None:
        requests = np.maximum(requests, n_hiccups)
        fell_back = fell_back + n_hiccups / np.maximum(requests, 1.0)
    elif hiccups is not None:
        fell_back = fell_back + hiccups.share
    if is_back_to_back:  # one at least is under way, if only a part of it falls into the step
        requests = np.maximum(requests, LEAST_SHARE * step_s / mean_s)
        offered = requests
    left = np.maximum(offered - requests, 0.0)
    kept = np.minimum(left, MAX_BACKLOG) if effects.queueing else np.zeros_like(left)
    queue, blocked_s = _queue(backlog, kept, usual_s, closed_s, now, step_s, effects)
    if is_back_to_back:
        queue = Queue(*(np.zeros_like(kept),) * 3)
    found = _latency(service_s, queue, now, hiccups, effects)
    late = left - kept
    if hiccups is not None and n_hiccups is not None:
        late = late + n_hiccups * hiccups.is_late
        own_s = n_hiccups * hiccups.extra_s / np.maximum(requests, 1.0)
        found = found._replace(mean_s=found.mean_s + own_s)
    head, tail, _ = service.work
    service = service._replace(work=Work(head, tail, head.total_s + fell_back * tail.total_s))
    served_hz = requests * (1.0 / step_s)
    held = clocks if rest is None else rest
    power_w = _power_w(device, costs, held, now, service, served_hz, fell_back, governed)
    return Response(
        latency_s=found.mean_s,
        deadline_hit_rate=found.deadline_hit_rate * np.maximum(1.0 - late / offered, 0.0),
        energy_j=energy_per_request_j(power_w, served_hz if is_back_to_back else now.arrival_hz),
        power_w=power_w,
        backlog=kept,
        blocked_s=blocked_s,
        requests=requests,
        fell_back=fell_back,
        sent=service.sent,
        served_hz=served_hz,
        work=service.work,
        away_s=service.away_s,
        background_load=now.background_load,
        held_up=found.held_up,
        delay_s=found.delay_s,
    )


def _queue(
    backlog: Floats,
    kept: Floats,
    takes_s: Floats,
    closed_s: Floats | None,
    now: OperatingConditions,
    step_s: float,
    effects: Effects,
) -> tuple[Queue, Floats]:
    """What waits during the step, and how long the board serves nobody in the next one."""
    # Who has waited while `MAX_BACKLOG` others came is dropped when it would be its turn, however
    # long a request takes: who is served then has waited for between that and one less.
    each_s = np.minimum(takes_s, 1.0 / now.arrival_hz)
    most = MAX_BACKLOG - 0.5
    before_s, after_s = np.minimum(backlog, most) * each_s, np.minimum(kept, most) * each_s
    blocked_s = np.zeros_like(kept)
    if closed_s is not None:
        before_s = before_s + closed_s
        blocked_s = np.maximum(closed_s - step_s, 0.0) * effects.queueing
    load = now.arrival_hz * takes_s * effects.queueing
    return Queue.of(before_s, after_s + blocked_s, load, step_s), blocked_s


def _latency(
    service_s: Floats,
    queue: Queue,
    now: OperatingConditions,
    hiccups: Hiccups | None,
    effects: Effects,
) -> latency.Latency:
    """Latency of all but the hiccups that are drawn."""
    most_s = np.maximum(MAX_BACKLOG / now.arrival_hz - queue.mean_s, 0.0)
    if not effects.latency_tails:
        return latency.calm(service_s, queue, most_s, now)
    found = latency.scattered(service_s, queue, most_s, now, hiccups)
    if hiccups is None or now.hiccup_draw is not None:
        return found
    return latency.with_expected(found, service_s, now, hiccups)


def _open_s(closed_s: Floats | None, step_s: float) -> Floats | float:
    """Time of a step in which requests are served."""
    return step_s if closed_s is None else np.maximum(step_s - closed_s, 0.0)


def _hiccups(service: _Service, now: OperatingConditions, effects: Effects) -> Hiccups | None:
    """Those that are held up; None where nobody is."""
    if not effects.latency_tails or not now.tail_share.any():
        return None
    is_awaited = service.sent & ~service.late
    return Hiccups.of(
        now.tail_share,
        np.where(is_awaited, service.away_s, service.work.edge_s),
        np.where(is_awaited, service.waits_s - service.away_s, 0.0),
        service.work.tail.total_s,
        service.left_s,
        is_awaited,
    )


def _serve(
    device: DeviceModel,
    costs: SplitCosts,
    clocks: Clocks,
    now: OperatingConditions,
    governed: GovernedFactors | None,
    top: Clocks | None,
    rest: Clocks | None,
) -> _Service:
    """Follow one request through the board, the link and the server."""
    slowdown = now.slowdown if now.build is None else now.slowdown * now.build.work
    slower = (slowdown * governed.head, slowdown * governed.tail) if governed else (slowdown,) * 2
    head: Busy | Finish
    if rest is None:
        rest, head = clocks, busy(costs.head, clocks, slower[0], now.background_load)
    else:
        head = finish(device, costs.head, rest, clocks, slower[0], now.background_load)
    send_s = costs.wire_bytes * 8.0 / now.link_bps
    idle = (1.0 - now.server_load) * (1.0 - now.hidden_load)
    cloud_s = costs.tail_flops / (now.server_flops_per_s * idle)
    away_s = np.where(costs.wire_bytes > 0.0, send_s + now.rtt_s + cloud_s, 0.0 * cloud_s)
    expected_s = away_s
    if (link := now.believed_link) is not None:
        its_s = costs.tail_flops / (link.server_flops_per_s * (1.0 - now.server_load))
        expected_s = costs.wire_bytes * 8.0 / link.link_bps + link.rtt_s + its_s
    if governed is not None:
        top = clocks  # below a cap the governors go up by themselves
    elif top is None:
        top = top_clocks(device, costs.wire_bytes)
    tail = finish(device, costs.tail, rest, top, slower[1], now.background_load)
    left_s = now.latency_target_s - head.total_s
    waits_s = patience_s(left_s, tail.total_s, expected_s)
    sent = (costs.wire_bytes > 0.0) & ~is_hopeless(expected_s, waits_s)
    late = ((away_s > waits_s) | ~sent) & (costs.wire_bytes > 0.0)
    edge_s = head.total_s + late * tail.total_s
    away_s = np.minimum(away_s, waits_s) * sent
    return _Service(Work(head, tail, edge_s), send_s * sent, away_s, late, sent, waits_s, left_s)


def _power_w(
    device: DeviceModel,
    costs: SplitCosts,
    clocks: Clocks,
    now: OperatingConditions,
    service: _Service,
    served_hz: Floats,
    fell_back: Floats,
    governed: GovernedFactors | None,
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
    raised_j = np.zeros(1, dtype=fell_back.dtype)
    if isinstance(head, Busy):
        busy_j = (head.cpu_s * free_w + memory_j) + head.gpu_s * gpu_w
    else:
        busy_j = head.busy_j(device, clocks, 1.0 - now.background_load) + memory_j
        raised_j = head.idle_j(device, clocks)
    if fell_back.any():
        tail_j = tail.busy_j(device, clocks, 1.0 - now.background_load)
        finished_j = fell_back * (costs.tail_traffic_bytes * model.memory_j_per_byte)
        memory_j = memory_j + finished_j
        busy_j = busy_j + (fell_back * tail_j + finished_j)
        raised_j = raised_j + fell_back * tail.idle_j(device, clocks)
    other_w = cpu_w * now.background_load
    if governed is not None:
        idle_w, other_w = idle_w * governed.rest, other_w * governed.rest
        busy_j = memory_j + (busy_j - memory_j) * governed.work
    if now.build is not None:
        idle_w, busy_j = idle_w * now.build.idle_power, busy_j * now.build.busy_power
        raised_j = raised_j * now.build.idle_power
        other_w = other_w * now.build.busy_power
    radio_w = now.radio_w + now.radio_w_per_bps * now.link_bps
    radio_j = np.minimum(service.send_s, service.away_s) * radio_w
    return np.asarray((idle_w + other_w) + served_hz * (busy_j + raised_j + radio_j))

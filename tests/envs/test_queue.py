"""The simulated queue against one that is followed request by request under the same rule."""

from __future__ import annotations

import numpy as np
import pytest

from envs.scenarios import episodes
from envs.sim.effects import EFFECTS, Effects
from envs.sim.hiccups import TAIL_SCALE
from envs.sim.response import MAX_BACKLOG
from partition.edge.offload_rule import is_hopeless, patience_s
from tests.envs.conftest import POINTS

ONLY_QUEUE = Effects.without(set(EFFECTS) - {"queueing", "latency_tails"})
N_REQUESTS = 20_000
RTT_S, SERVER_FLOPS_PER_S = 0.004, 150e9
CLOUD, EARLY, LATE, EDGE = range(4)


def followed(head_s, tail_s, away_s, target_s, rate_hz, *, poisson, held_up):
    """Mean latency of the requests served, share of all in time, share of those finished here.

    Who is held up takes longer: the answer, if one is awaited, or else the board.
    """
    generator = np.random.default_rng(0)
    n = N_REQUESTS
    gaps_s = generator.exponential(1 / rate_hz, n) if poisson else np.full(n, 1 / rate_hz)
    came_s = np.cumsum(gaps_s)
    waits_s = float(patience_s(target_s - head_s, tail_s, away_s))
    is_sent = away_s > 0.0 and not is_hopeless(away_s, waits_s)
    usual_s = away_s
    if not is_sent or away_s > waits_s:
        usual_s = head_s + tail_s
    delays_s = (generator.random(n) < held_up) * generator.exponential(TAIL_SCALE * usual_s, n)
    free_s, latencies_s, fell_back = 0.0, [], []
    for k in range(n):
        if (free_s - came_s[k]) * rate_hz > MAX_BACKLOG:  # as `ScenarioRequests` drops
            continue
        if not is_sent:
            takes_s, back = head_s + (away_s > 0.0) * tail_s + delays_s[k], away_s > 0.0
        elif away_s > waits_s:
            takes_s, back = head_s + waits_s + tail_s + delays_s[k], True
        else:
            back = away_s + delays_s[k] > waits_s
            takes_s = head_s + (waits_s + tail_s if back else away_s + delays_s[k])
        free_s = max(free_s, came_s[k]) + takes_s
        latencies_s.append(free_s - came_s[k])
        fell_back.append(back)
    in_time = np.count_nonzero(np.array(latencies_s) <= target_s) / n
    return np.mean(latencies_s), in_time, np.mean(fell_back)


CASES = {
    # clock, route, Mbit/s, target in ms, requests/s
    "answered": (-1, CLOUD, 50.0, 100.0, 10.0),
    "answered at low clocks": (2, CLOUD, 50.0, 100.0, 10.0),
    "a long head": (5, EARLY, 10.0, 100.0, 6.0),
    "awaited although late": (0, CLOUD, 11.5, 40.0, 4.0),
    "given up": (-1, CLOUD, 2.0, 300.0, 2.0),
    "hopeless": (-1, CLOUD, 2.0, 100.0, 10.0),
    "on the board": (-1, EDGE, 50.0, 100.0, 10.0),
    "a short deadline": (-1, CLOUD, 20.0, 60.0, 15.0),
    "a late cut": (4, LATE, 20.0, 150.0, 8.0),
}


@pytest.mark.parametrize("held_up", [0.0, 0.02])
@pytest.mark.parametrize("kind", ["periodic", "poisson"])
@pytest.mark.parametrize("case", CASES)
def test_every_way_a_request_may_take_keeps_the_others_waiting(
    fleet, device, costs, finish_s, monkeypatch, case, kind, held_up
):
    clock, route, rate_mbps, target_ms, rate_hz = CASES[case]
    monkeypatch.setattr(episodes, "TAIL_SHARE", (held_up, held_up))
    boards = fleet(
        {
            "arrivals.rate_hz": str(rate_hz),
            "arrivals.kind": f'"{kind}"',
            "link.rate_mbps": str(rate_mbps),
            "requests.latency_target_ms": str(target_ms),
        },
        n=100,
        n_steps=100,
        effects=ONLY_QUEUE,
    )
    places = [clock % len(axis.values) for axis in boards.layout.axes[:-1]]
    clocks = [axis.values[place] for axis, place in zip(boards.layout.axes, places, strict=False)]
    point = POINTS[route]
    server_s = (POINTS[EDGE].head_flops - point.head_flops) / SERVER_FLOPS_PER_S
    link_s = point.wire_bytes * 8 / (rate_mbps * 1e6) + RTT_S
    latency_s, in_time, fell_back = followed(
        float(device.latency_s(costs.head, *clocks)[route]),
        finish_s(route, *clocks),
        (link_s + server_s) * (route != EDGE),
        target_ms / 1e3,
        rate_hz,
        poisson=kind == "poisson",
        held_up=held_up,
    )
    action = np.tile([*places, route], (boards.n, 1))
    steps = [boards.step(action) for _ in range(99)][10:]
    served = np.array([step.requests for step in steps])
    assert np.average([s.latency_s for s in steps], weights=served) == pytest.approx(
        latency_s, rel=0.06
    )
    assert np.mean([s.deadline_hit_rate for s in steps]) == pytest.approx(in_time, abs=0.02)
    assert np.average([s.fell_back for s in steps], weights=served) == pytest.approx(
        fell_back, abs=0.005
    )


@pytest.mark.parametrize("rate_hz", [5.0, 10.0])
def test_who_waits_for_too_long_is_dropped_when_more_come_than_are_served(
    fleet, device, costs, rate_hz
):
    boards = fleet({"arrivals.rate_hz": str(rate_hz)}, effects=ONLY_QUEUE, n_steps=90)
    clocks = [axis.values[1] for axis in boards.layout.axes[:-1]]
    head_s = float(device.latency_s(costs.head, *clocks)[EDGE])
    assert head_s * rate_hz > 1.0
    latency_s, _, _ = followed(head_s, 0.0, 0.0, 0.1, rate_hz, poisson=False, held_up=0.0)
    steps = [boards.step(np.array([[1, 1, 1, EDGE]])) for _ in range(89)]
    assert steps[-1].latency_s[0] == pytest.approx(latency_s, rel=0.08)

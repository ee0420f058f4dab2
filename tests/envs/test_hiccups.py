"""What single held-up answers do, against a queue that is followed request by request."""

from __future__ import annotations

import numpy as np
import pytest

from envs.scenarios import episodes
from envs.sim import hiccups
from envs.sim.effects import EFFECTS, Effects
from partition.edge.offload_rule import patience_s

CLOUD, EDGE = 0, 3
TARGET_S, ARRIVAL_HZ = 0.1, 10.0
AWAY_S = 60_000 * 8 / 50e6 + 0.004 + 8e8 / 150e9
HELD_UP, MEAN_S = 0.02, 5.0 * AWAY_S
ONLY_HICCUPS = Effects.without(set(EFFECTS) - {"queueing", "latency_tails"})


@pytest.fixture(autouse=True)
def some_are_held_up_for_long(monkeypatch):
    monkeypatch.setattr(episodes, "TAIL_SHARE", (HELD_UP, HELD_UP))
    monkeypatch.setattr(hiccups, "TAIL_SCALE", MEAN_S / AWAY_S)


def at(boards, clock, split=CLOUD):
    """The action with all clocks at one place of their tables, for every board."""
    sizes = [len(axis.values) for axis in boards.layout.axes[:-1]]
    return np.tile([*(clock % size for size in sizes), split], (boards.n, 1))


def followed(finish_s, n=60_000):
    """Mean latency, share in time and share finished here of requests served in turn."""
    generator = np.random.default_rng(0)
    away_s = AWAY_S + (generator.random(n) < HELD_UP) * generator.exponential(MEAN_S, n)
    waits_s = float(patience_s(TARGET_S, finish_s, AWAY_S))
    takes_s = np.where(away_s > waits_s, waits_s + finish_s, away_s)
    free_s, latencies_s = 0.0, []
    for k in range(n):
        came_s = k / ARRIVAL_HZ
        free_s = max(free_s, came_s) + takes_s[k]
        latencies_s.append(free_s - came_s)
    return (
        np.mean(latencies_s),
        np.mean(np.array(latencies_s) <= TARGET_S),
        np.mean(away_s > waits_s),
    )


@pytest.mark.parametrize("clock", [-1, 4, 2])
def test_draws_and_what_is_expected_come_to_what_a_queue_does(fleet, device, finish_s, clock):
    clocks = (device.cpu_hz[clock], device.gpu_hz[clock], device.emc_hz[clock])
    latency_s, in_time, fell_back = followed(finish_s(CLOUD, *clocks))
    boards = fleet(n=400, n_steps=200, effects=ONLY_HICCUPS)
    steps = [boards.step(at(boards, clock)) for _ in range(199)]
    served = np.array([step.requests for step in steps])
    drawn_s = np.average([step.latency_s for step in steps], weights=served)
    drawn = np.mean([step.deadline_hit_rate for step in steps])
    share = np.average([step.fell_back for step in steps], weights=served)
    assert drawn_s == pytest.approx(latency_s, rel=0.08)
    assert drawn == pytest.approx(in_time, abs=0.005)
    assert share == pytest.approx(fell_back, rel=0.2)
    expected = boards.outcomes(at(boards, clock)[:1], slice(0, 1), settled=True)
    assert expected.latency_s[0, 0] == pytest.approx(latency_s, rel=0.08)
    assert expected.deadline_hit_rate[0, 0] == pytest.approx(in_time, abs=0.01)
    assert expected.fell_back[0, 0] == pytest.approx(fell_back, rel=0.2)


def test_a_board_at_its_lowest_clocks_is_not_helpless(fleet, device, costs, finish_s):
    boards = fleet(effects=ONLY_HICCUPS)
    some = np.concatenate([at(boards, clock) for clock in (-1, 0)])
    found = boards.outcomes(some, slice(0, 1), settled=True)
    assert found.fell_back[0].min() > 0.001
    assert found.deadline_hit_rate[0] == pytest.approx(1.0, abs=0.01)
    lowest_hz = (device.cpu_hz[0], device.gpu_hz[0], device.emc_hz[0])
    slow_s = float(device.latency_s(costs.tail, *lowest_hz)[CLOUD])
    assert finish_s(CLOUD, *lowest_hz) < 0.2 * slow_s


def test_nobody_is_served_while_a_hiccup_outlasts_its_step(fleet, monkeypatch):
    monkeypatch.setattr(episodes, "TAIL_SHARE", (0.5, 0.5))
    monkeypatch.setattr(hiccups, "TAIL_SCALE", 50.0)
    slow = {
        "board.slowdown": "8.0",
        "arrivals.rate_hz": "1.0",
        "requests.latency_target_ms": "450.0",
    }
    boards = fleet(slow, n=64, effects=ONLY_HICCUPS)
    one = boards.step(at(boards, 2))
    hit = one.fell_back > 0.0
    assert 0 < hit.sum() < 64
    next_one = boards.step(at(boards, -1, EDGE))
    calm = next_one.latency_s[~hit].max()
    assert (next_one.latency_s[hit] > calm).all()
    assert next_one.deadline_hit_rate[hit].max() < next_one.deadline_hit_rate[~hit].min()


def test_without_queueing_each_step_is_a_problem_of_its_own(fleet, monkeypatch):
    monkeypatch.setattr(episodes, "TAIL_SHARE", (0.5, 0.5))
    boards = fleet(n=64, effects=Effects.without(set(EFFECTS) - {"latency_tails"}))
    assert (boards.step(at(boards, 4)).fell_back > 0.0).any()
    assert np.ptp(boards.step(at(boards, -1, EDGE)).latency_s) == 0.0

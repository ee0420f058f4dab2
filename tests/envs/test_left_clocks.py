"""Simulated boards that leave clocks to their governors."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from envs.governed.governing import Governing
from envs.governed.sub_steps import EVERY_CLOCK, Cases, run
from envs.governed.table import GovernedTable, drawn_arrivals, routes_of
from envs.governed.table_file import left_table, open_table
from envs.scenarios.scenario import SCENARIO_DIR
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from hw.base import Hold

SEEDS = np.zeros(2, dtype=np.uint64)
RATE_HZ = 8.0


@pytest.fixture(scope="module")
def pinned():
    return build_sim_config("tx2", scenarios=["steady-wifi"])


def steps(world, action, governing=None, n=12):
    boards = BatchedSimulator(world, len(SEEDS))
    if governing is not None:
        boards.leave_clocks(governing)
    boards.reset(SEEDS)
    return [boards.step(np.array([action] * len(SEEDS))) for _ in range(n)]


def mean(outcomes, name):
    return float(np.mean([getattr(outcome, name) for outcome in outcomes]))


def in_sub_steps(world, governing, seconds=8.0, rate_hz=RATE_HZ):
    """The whole network, back in the sub-steps that no table stands for."""
    device = governing.device(world.device)
    tops = [np.full(1, hz[-1]) for hz in (device.cpu_hz, device.gpu_hz, device.emc_hz)]
    whole = np.array([len(world.route_names) - 1])
    work = routes_of(world.costs.head, whole, np.dtype(np.float64))
    given = Cases(tops, work, np.zeros(1), np.full(1, rate_hz), np.zeros(1))
    arrivals_s = drawn_arrivals(round(20 * rate_hz), 0, is_random=False)
    return run(device, given, arrivals_s, warm_up_s=2.0, duration_s=seconds, governing=governing)


def test_what_actions_say_of_clocks_that_are_left_does_not_count(pinned):
    low, high = (steps(pinned, action, EVERY_CLOCK) for action in ([0, 0, 0, 6], [11, 12, 7, 6]))
    for one, other in zip(low, high, strict=True):
        np.testing.assert_array_equal(one.power_w, other.power_w)
        np.testing.assert_array_equal(one.latency_s, other.latency_s)


def test_boards_that_leave_their_clocks_are_those_that_cap_them_at_the_top(pinned):
    capped = build_sim_config("tx2", scenarios=["steady-wifi"], hold=Hold.CAP)
    top = [11, 12, 7, 6]
    left, under_caps = steps(pinned, top, EVERY_CLOCK), steps(capped, top)
    for name in ("latency_s", "power_w"):
        assert mean(left, name) == pytest.approx(mean(under_caps, name), rel=1e-4)


@pytest.mark.parametrize(
    "governing",
    [
        EVERY_CLOCK,
        Governing(cpu="ondemand"),
        Governing(host_spins=False),
        Governing(("gpu", "emc")),
    ],
    ids=["own", "ondemand", "blocking", "cpu-pinned"],
)
def test_the_table_of_clocks_that_are_left_stands_for_the_sub_steps(pinned, governing):
    table = left_table(pinned.device, pinned.costs.head, governing)
    places = np.array([[11, 12, 7, len(pinned.route_names) - 1]])
    factors = table.looked_up(places, np.full(1, RATE_HZ), np.zeros(1), np.zeros(1))
    seen, still = in_sub_steps(pinned, governing), in_sub_steps(pinned, Governing(()))
    assert seen.edge_s / still.edge_s == pytest.approx(factors.head, rel=0.03)
    assert seen.rest_w / still.rest_w == pytest.approx(factors.rest, rel=0.03)


def test_back_to_back_governors_meet_a_board_that_never_rests(pinned, tmp_path):
    text = (SCENARIO_DIR / "steady-wifi.toml").read_text()
    path = tmp_path / "busy.toml"
    path.write_text(re.sub(r'rate_hz = 10.0\nkind = "periodic"', 'kind = "back-to-back"', text))
    world = build_sim_config("tx2", scenarios=[str(path)])
    calm = replace(world, effects=replace(world.effects, latency_tails=False))
    top = [len(axis.values) - 1 for axis in BatchedSimulator(world, 1).layout.axes]
    left, still = steps(calm, top, EVERY_CLOCK), steps(calm, top)
    stretch = mean(left, "latency_s") / mean(still, "latency_s")
    seen, fast = (in_sub_steps(pinned, g, rate_hz=60.0) for g in (EVERY_CLOCK, Governing(())))
    assert 1.1 < stretch == pytest.approx(float((seen.edge_s / fast.edge_s)[0]), rel=0.05)


def test_a_host_that_spins_keeps_its_clock_up(pinned):
    spins, blocks = (in_sub_steps(pinned, Governing(host_spins=spins)) for spins in (True, False))
    assert spins.clocks_hz[0] > blocks.clocks_hz[0]
    assert spins.edge_s < blocks.edge_s


def test_the_table_is_made_once(pinned, monkeypatch):
    governing = Governing(("cpu",), cpu="ondemand")
    device, head = pinned.device, pinned.costs.head
    made = []
    monkeypatch.setattr(GovernedTable, "make", lambda *_, **__: made.append(1) or "made")
    assert left_table(device, head, governing) == left_table(device, head, governing) == "made"
    assert made == [1]
    other = replace(device, governors=Governing(cpu="ondemand").device(device).governors)
    assert left_table(other, head, EVERY_CLOCK) == "made"
    assert made == [1, 1]


def test_a_shipped_table_serves(pinned):
    shipped = open_table(pinned.device, pinned.costs.head)
    left = left_table(pinned.device, pinned.costs.head, EVERY_CLOCK)
    np.testing.assert_array_equal(left.rows, shipped.rows[:, :, -1:, -1:, -1:])


def test_a_board_without_such_clocks_stays_pinned():
    world = build_sim_config("pi4", scenarios=["steady-wifi"])
    action = [len(axis.values) // 2 for axis in BatchedSimulator(world, 1).layout.axes]
    left, pinned = steps(world, action, Governing(("gpu", "emc")), 4), steps(world, action, n=4)
    for one, other in zip(left, pinned, strict=True):
        np.testing.assert_array_equal(one.power_w, other.power_w)
        np.testing.assert_array_equal(one.latency_s, other.latency_s)

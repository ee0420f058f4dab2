"""Boards whose governors move the clocks: sub-steps, what they come to, and simulators of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.governed.compare import table_errors
from envs.governed.sub_steps import Cases, run
from envs.governed.table import FIELDS, N_ROWS, GovernedTable, drawn_arrivals, made_of
from envs.governed.table_file import TABLES, keep, open_table
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from hw.base import Hold
from hw.device.model import Demand, DeviceModel

WORK = Demand(fixed_s=0.0, cpu_cycles=4e7, gpu_cycles=3e7, emc_cycles=2e7)


@pytest.fixture(scope="module")
def tx2():
    return DeviceModel.load("tx2")


@pytest.fixture(scope="module")
def capped():
    return build_sim_config("tx2", scenarios=["steady-wifi"], hold=Hold.CAP)


def cases(device, rates_hz, *, away_s=0.0):
    n = len(rates_hz)
    top = [np.full(n, table[-1]) for table in (device.cpu_hz, device.gpu_hz, device.emc_hz)]
    same = {k: np.full(n, getattr(WORK, k)) for k in ("fixed_s", "cpu_cycles", "gpu_cycles")}
    work = Demand(**same, emc_cycles=np.full(n, WORK.emc_cycles))
    return Cases(top, work, np.full(n, away_s), np.array(rates_hz), np.zeros(n))


def found(device, rates_hz, **options):
    away_s = options.pop("away_s", 0.0)
    arrivals_s = drawn_arrivals(800, 0, is_random=False)
    given = cases(device, rates_hz, away_s=away_s)
    return run(device, given, arrivals_s, warm_up_s=1.5, duration_s=2.0, **options)


def test_pinned_boards_take_what_the_device_model_says(tx2):
    point = (tx2.cpu_hz[-1], tx2.gpu_hz[-1], tx2.emc_hz[-1])
    seen = found(tx2, [2.0, 8.0], governing=None, away_s=0.01)
    cpu_s, gpu_s = WORK.busy_s(*point)
    assert seen.edge_s == pytest.approx(np.full(2, cpu_s + gpu_s), rel=1e-6)
    assert seen.latency_s == pytest.approx(seen.edge_s + 0.01, abs=1e-3)
    assert seen.rest_w == pytest.approx(np.full(2, tx2.power.idle_w(*point)))
    busy_j = cpu_s * tx2.power.cpu_load_w(point[0]) + gpu_s * tx2.power.gpu_load_w(*point[1:])
    assert seen.work_j == pytest.approx(np.full(2, busy_j), rel=1e-6)


def test_governed_boards_are_slow_and_thrifty_at_few_requests(tx2):
    few, many = found(tx2, [2.0, 40.0]).edge_s
    full_s = found(tx2, [2.0], governing=None).edge_s[0]
    assert few > 2.0 * full_s
    assert full_s < many < 0.5 * few
    assert found(tx2, [2.0]).rest_w < 0.8 * found(tx2, [2.0], governing=None).rest_w


def test_requests_beyond_the_queue_are_dropped(tx2):
    seen = found(tx2, [200.0])
    assert seen.served_hz[0] == pytest.approx(1.0 / seen.edge_s[0], rel=0.05)
    assert seen.latency_s[0] < 6.0 * seen.edge_s[0]


def test_every_way_to_look_a_table_up_finds_the_same(capped):
    boards = BatchedSimulator(capped, 3)
    boards.reset(np.arange(3, dtype=np.uint64))
    now = replace(
        boards._now(1), background_load=np.array([0.0, 0.2, 0.9]), arrival_scv=np.array([0, 1, 0.5])
    )
    places = np.random.default_rng(0).integers(0, capped.governed.rows.shape[2:], (6, 4))
    whole = capped.governed.factors(None, now.for_actions(slice(0, 3), 4))
    shared = capped.governed.factors(places, now.for_actions(slice(0, 3), 1))
    each = capped.governed.factors(np.tile(places, (3, 1, 1)), now.for_actions(slice(0, 3), 1))
    at = tuple(places.T)
    for name in ("head", "rest", "work"):
        expected = np.stack([getattr(whole, name)[k][at] for k in range(3)])
        assert getattr(shared, name) == pytest.approx(expected, rel=1e-4)
        assert getattr(each, name) == pytest.approx(expected, rel=1e-4)
    tail = np.stack([whole.tail[k][(*at[:3], 0)] for k in range(3)])
    assert shared.tail == pytest.approx(tail, rel=1e-4)
    one = capped.governed.factors(places[:3], now)
    assert one.head == pytest.approx(np.diag(shared.head[:, :3]), rel=1e-4)


def test_the_table_that_comes_with_the_package_is_of_this_device_and_network(capped):
    name = made_of(capped.device, capped.costs.head)
    assert capped.governed.made_of == name
    assert (TABLES / f"{name}.npz").is_file()


@pytest.mark.parametrize(("scv", "load", "medians"), [(0.0, 0.0, 0.005), (1.0, 0.3, 0.05)])
def test_the_table_stands_for_the_sub_steps(capped, scv, load, medians):
    """In so few seconds, requests that come at random are not quite what they are on average."""
    errors = table_errors(
        capped.device, capped.costs.head, capped.governed, 60, scv=scv, load=load, seconds=8.0
    )
    assert np.median(np.abs(errors.energy)) < medians
    assert np.median(np.abs(errors.time)) < medians


def test_a_table_that_is_kept_is_not_made_again(small_world, tmp_path, monkeypatch):
    device, head = small_world.device, small_world.costs.head
    sizes = [len(hz) for hz in (device.cpu_hz, device.gpu_hz, device.emc_hz)]
    n_routes = len(small_world.route_names)
    rows = np.random.default_rng(0).normal(0.0, 0.5, (N_ROWS, len(FIELDS), *sizes, n_routes))
    table = GovernedTable(rows.astype(np.float32), made_of(device, head))
    monkeypatch.setattr(GovernedTable, "make", lambda *_: table)
    assert open_table(device, head) is table
    monkeypatch.setattr(GovernedTable, "make", None)
    keep(table, tmp_path / "governed.npz")
    read = open_table(device, head, tmp_path / "governed.npz")
    assert read.rows == pytest.approx(table.rows, abs=2e-3)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"x" * 1000])
def test_a_file_that_is_no_table_is_made_again(small_world, tmp_path, monkeypatch, content):
    monkeypatch.setattr(GovernedTable, "make", lambda *_: "made")
    path = tmp_path / "governed.npz"
    path.write_bytes(content)
    assert open_table(small_world.device, small_world.costs.head, path) == "made"


def test_a_capped_simulator_serves_as_its_table_says(capped):
    pinned = replace(capped, governed=None)
    assert (capped.hold, pinned.hold) == (Hold.CAP, Hold.PIN)
    seeds = np.zeros(1, dtype=np.uint64)
    latency_s, power_w = [], []
    for world in (capped, pinned):
        boards = BatchedSimulator(world, 1)
        boards.reset(seeds)
        top = np.array([[len(axis.values) - 1 for axis in boards.layout.axes]])
        outcomes = [boards.step(top) for _ in range(20)]
        latency_s.append(np.mean([o.latency_s for o in outcomes]))
        power_w.append(np.mean([o.power_w for o in outcomes]))
    now = BatchedSimulator(capped, 1)
    now.reset(seeds)
    factors = capped.governed.factors(np.array([[11, 12, 7, 6]]), now._now(1))
    assert latency_s[0] / latency_s[1] == pytest.approx(factors.head[0], rel=0.1)
    assert power_w[0] < 0.8 * power_w[1]


def test_a_capped_simulator_expects_of_an_action_what_the_grid_does(capped):
    boards = BatchedSimulator(capped, 2)
    boards.reset(np.arange(2, dtype=np.uint64))
    some = np.array([[3, 4, 5, 6], [11, 12, 7, 3], [0, 0, 0, 0]])
    grid = boards.every_outcome(slice(0, 2))
    few = boards.outcomes(some, slice(0, 2))
    every_w = np.broadcast_to(grid.power_w, (2, *capped.governed.rows.shape[2:]))
    for k, action in enumerate(some):
        assert few.power_w[:, k] == pytest.approx(every_w[(slice(None), *action)], rel=0.02)

"""Pieces of a real network on boards that pace them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest

from envs.calibration.network_runner import NetworkRunner
from envs.calibration.samples import Kind, Piece
from envs.live.pacer import BoardPacer
from envs.sim.split_costs import SplitCosts
from hw.boards.sim import SimBoard
from hw.device.latency import HostScaling
from hw.device.model import Demand, DeviceModel
from partition.model.runtime import SplitRuntime, random_inputs


@pytest.fixture
def prepared():
    """How often a picture was prepared."""
    return []


@pytest.fixture
def runner(tiny, emulated, prepared):
    def picture():
        prepared.append(1)
        return random_inputs(tiny)

    return NetworkRunner(tiny, SplitRuntime(tiny), emulated, [picture])


@pytest.fixture
def entered(emulated, monkeypatch):
    """What the board was asked to pace, in this order."""
    seen = []

    def noted(kind, paced):
        @contextmanager
        def context(*sizes):
            seen.append((kind, *sizes))
            with paced(*sizes):
                yield

        return context

    monkeypatch.setattr(emulated, "pace", noted("network", emulated.pace))
    monkeypatch.setattr(emulated, "host", noted("host", emulated.host))
    return seen


def test_heads_and_tails_are_paced_by_their_size(runner, entered, tiny):
    head, tail = tiny.routes[-1].edge, tiny.routes[0].fallback
    runner.prepared(Piece(Kind.HEAD, len(tiny.routes) - 1))()
    runner.prepared(Piece(Kind.TAIL, 0))()
    assert entered == [
        ("network", head.flops, head.traffic_bytes, head.kernels),
        ("network", tail.flops, tail.traffic_bytes, tail.kernels),
    ]


def test_host_work_is_picture_codec_and_message(runner, entered, tiny, prepared):
    run, n_before = runner.prepared(Piece(Kind.HOST, 1)), len(prepared)
    run()
    assert entered == [("host",)] * 3
    assert len(prepared) == n_before + 1
    entered.clear()
    runner.prepared(Piece(Kind.HOST, len(tiny.routes) - 1))()  # which sends nothing
    assert entered == [("host",)]


def test_an_idle_board_is_asked_nothing(runner, entered):
    runner.prepared(Piece(Kind.IDLE))()
    assert entered == []


def test_a_modelled_board_plays_the_host_work_that_its_file_knows(tiny, clock):
    host = HostScaling(cpu_cycles_per_request=2e6, cpu_cycles_per_byte=10.0)
    device = replace(DeviceModel.load("tx2"), host=host)
    with SimBoard(device, clock=clock, sleep=clock.sleep) as board:
        runner = NetworkRunner(tiny, SplitRuntime(tiny), board, [random_inputs(tiny)])
        assert Kind.HOST in runner.kinds
        began_s, cpu_hz = clock(), device.cpu_hz[-1]
        runner.prepared(Piece(Kind.HOST, 1))()
        host_s = (2e6 + 10.0 * tiny.routes[1].wire_bytes) / cpu_hz
        assert clock() - began_s == pytest.approx(host_s, rel=1e-3)
        # A request takes both times, as the simulator has it.
        began_s, route = clock(), tiny.routes[1]
        with BoardPacer(board, tiny.routes).edge(route.route):
            pass
        head = SplitCosts.of(device, tiny.routes).rows()[:4, 1]
        expected_s = device.latency_s(Demand(*head), cpu_hz, device.gpu_hz[-1], device.emc_hz[-1])
        assert clock() - began_s == pytest.approx(float(expected_s), rel=1e-3)


def test_a_model_that_knows_no_host_work_has_none_measured(tiny, sim, runner):
    on_sim = NetworkRunner(tiny, SplitRuntime(tiny), sim, [random_inputs(tiny)])
    assert Kind.HOST not in on_sim.kinds
    assert Kind.HOST in runner.kinds
    assert sum(sent.payload.nbytes for sent in on_sim.sent(1)) > 0

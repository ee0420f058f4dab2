"""Pieces of a real network on boards that pace them."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from envs.calibration.network_runner import NetworkRunner
from envs.calibration.samples import Kind, Piece
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


def test_a_model_that_knows_no_host_work_has_none_measured(tiny, sim, runner):
    on_sim = NetworkRunner(tiny, SplitRuntime(tiny), sim, [random_inputs(tiny)])
    assert Kind.HOST not in on_sim.kinds
    assert Kind.HOST in runner.kinds
    assert sum(sent.payload.nbytes for sent in on_sim.sent(1)) > 0

"""Faults of sensors and clocks between a board and its control loop."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from envs.live.supervisor import LOW_SHARE, UNMEASURED, BoardSupervisor
from hw.base import Cause
from hw.boards.sim import SimBoard
from hw.errors import (
    FrequencyRejectedError,
    SensorReadError,
    UnreadWindowError,
    WindowTooShortError,
)
from hw.outage import PATIENCE
from tests.hw.fake.clock import FakeClock

STEP_S = 0.25
NOMINAL_W = 12.0


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def board(device, clock):
    with SimBoard(device, clock=clock, sleep=clock.sleep) as board:
        yield board


@pytest.fixture
def supervisor(board, clock):
    supervisor = BoardSupervisor(board, NOMINAL_W, clock)
    supervisor.read()
    return supervisor


@pytest.fixture
def step(board, clock, supervisor):
    """One control step at some clocks, the highest if none are named."""

    def run(**clocks_hz):
        wanted = {name: domain.available_hz[-1] for name, domain in board.domains.items()}
        supervisor.begin_window()
        supervisor.apply(wanted | clocks_hz)
        clock.sleep(STEP_S)
        power = supervisor.end_window()
        supervisor.read()
        return power

    return run


def failing(error):
    def fail(*arguments):
        raise error

    return fail


def test_power_is_the_boards(step):
    power = step()
    assert power.is_measured
    assert power.duration_s == pytest.approx(STEP_S)
    assert 0.0 < power.power_w < NOMINAL_W


@pytest.mark.parametrize("error", [SensorReadError("EIO"), WindowTooShortError("0.4 ms")])
def test_the_last_power_stands_in_for_one_that_cannot_be_measured(step, board, monkeypatch, error):
    before = step()
    monkeypatch.setattr(board, "end_window", failing(error))
    power = step()
    assert (power.power_w, power.is_measured) == (before.power_w, False)
    assert power.duration_s == pytest.approx(STEP_S)


def test_a_window_that_cannot_be_begun_is_bridged_too(step, board, monkeypatch):
    monkeypatch.setattr(board, "begin_window", failing(SensorReadError("EREMOTEIO")))
    assert (step().power_w, step().is_measured) == (NOMINAL_W, False)


def test_clocks_stay_low_while_power_is_unknown_and_climb_back(
    step, board, supervisor, monkeypatch, caplog
):
    top_hz = board.domains["cpu"].available_hz[-1]
    with monkeypatch.context() as patch:
        patch.setattr(board, "end_window", failing(SensorReadError("VDD_IN: EIO")))
        for _ in range(PATIENCE):
            step()
            assert supervisor.point["cpu"] == top_hz
        step()
        points_hz = board.domains["cpu"].available_hz
        assert supervisor.point["cpu"] == points_hz[int(LOW_SHARE * (len(points_hz) - 1))]
        cpu = supervisor.clocks_in_force()[0]
        assert (cpu.requested_hz, cpu.cause) == (top_hz, UNMEASURED)
        step(cpu=points_hz[0])
        assert supervisor.point["cpu"] == points_hz[0]
    step()
    step()
    assert supervisor.point["cpu"] == top_hz
    assert supervisor.clocks_in_force()[0].cause is None
    texts = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(texts) == 3
    assert "VDD_IN: EIO" in texts[0]
    assert "lower 25%" in texts[1]
    assert "works again" in texts[2]


def test_a_machine_too_busy_to_read_its_sensors_keeps_its_clocks(
    step, board, supervisor, monkeypatch, caplog
):
    """Lower clocks would make it busier yet, and it would never come out of it."""
    monkeypatch.setattr(board, "end_window", failing(UnreadWindowError("none for 0.2 s")))
    for _ in range(3 * PATIENCE):
        assert not step().is_measured
    assert supervisor.point["cpu"] == board.domains["cpu"].available_hz[-1]
    assert supervisor.n_failures["power"] == 3 * PATIENCE
    assert caplog.text.count("none for 0.2 s") == 1


def test_an_unknown_temperature_counts_as_hot_after_a_while(step, board, supervisor, monkeypatch):
    step()
    margin_c = supervisor.margin_c
    assert margin_c > 0.0
    with monkeypatch.context() as patch:
        patch.setattr(board, "temperature_c", failing(SensorReadError("EAGAIN")))
        step()
        assert supervisor.margin_c == margin_c
        for _ in range(PATIENCE):
            step()
        assert supervisor.margin_c == 0.0
        assert supervisor.known_margin_c is None
    step()
    assert supervisor.margin_c > 0.0


def test_a_clock_that_refuses_does_not_keep_the_others_from_being_set(
    step, board, supervisor, monkeypatch
):
    lowest_hz = {name: domain.available_hz[0] for name, domain in board.domains.items()}
    step()
    monkeypatch.setattr(board.domains["cpu"], "request", failing(FrequencyRejectedError("EIO")))
    step(**lowest_hz)
    assert supervisor.point["gpu"] == lowest_hz["gpu"]
    cpu = supervisor.clocks_in_force()[0]
    assert (cpu.name, cpu.cause) == ("cpu", "it could not be set")
    assert cpu.applied_hz > cpu.requested_hz


def test_a_clock_that_cannot_be_read_back_stays_as_last_read_and_is_marked(
    step, board, supervisor, monkeypatch
):
    step()
    before = dict(supervisor.point)
    lowest_hz = {name: domain.available_hz[0] for name, domain in board.domains.items()}
    monkeypatch.setattr(board.domains["cpu"], "verify", failing(SensorReadError("EIO")))
    step(**lowest_hz)
    assert supervisor.point == {**lowest_hz, "cpu": before["cpu"]}  # the others are known
    causes = {clock.name: clock.cause for clock in supervisor.clocks_in_force()}
    assert causes == {"cpu": "it cannot be read back", "gpu": None, "emc": None}


def test_a_clock_that_never_could_be_set_is_read_all_the_same(step, board, supervisor, monkeypatch):
    """Nothing of it stands among what was applied."""
    monkeypatch.setattr(board.domains["gpu"], "request", failing(FrequencyRejectedError("EBUSY")))
    board.applied.clear()
    step(gpu=board.domains["gpu"].available_hz[0])
    assert set(supervisor.point) == set(board.domains)
    causes = {clock.name: clock.cause for clock in supervisor.clocks_in_force()}
    assert causes == {"cpu": None, "gpu": "it could not be set", "emc": None}


def test_failures_are_counted_by_what_failed(step, board, supervisor, monkeypatch):
    monkeypatch.setattr(board, "temperature_c", failing(SensorReadError("EIO")))
    monkeypatch.setattr(board, "end_window", failing(SensorReadError("EIO")))
    for _ in range(3):
        step()
    steps = {"power": 3, "temperature": 3, "set_clocks": 0, "read_clocks": 0}
    assert supervisor.n_failures == {"power_readings": 0, **steps}


def test_power_readings_that_were_dropped_are_counted(step, board, supervisor, monkeypatch):
    end_window = board.end_window
    monkeypatch.setattr(board, "end_window", lambda: replace(end_window(), n_failed=2))
    assert step().is_measured
    assert supervisor.n_failures["power_readings"] == 2


def test_who_holds_a_clock_down_is_named(step, board, supervisor):
    board.set_ambient(99.0)
    for _ in range(8):
        step()
    held = [clock.cause for clock in supervisor.clocks_in_force() if clock.cause is not None]
    assert set(held) == {Cause.THERMAL.value}

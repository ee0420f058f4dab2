"""Boards as a calibration opens them: clocks by kind, and the machine given back."""

from __future__ import annotations

import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from envs.calibration import opening
from envs.calibration.fitting.confidence import SENSOR_GAIN
from envs.calibration.opening import CalibrationConfig
from hw.base import Hold
from hw.boards.device_view import DeviceView
from hw.boards.linux import LinuxBoard
from hw.boards.sim import SimBoard
from hw.device.model import DeviceModel
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.kernel import NEW

CONFIG = CalibrationConfig(board="linux", model="m", out=Path("m.toml"), minutes=1.0)


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Open a machine over fake kernel files for a calibration."""
    boards = []

    def build(name):
        sysfs = FakeSysfs(BOARDS[name](NEW), tmp_path)
        kernel = sysfs.kernel

        def machine(*_, **__):
            board = LinuxBoard(sysfs, hold=Hold.PIN, clock=kernel.clock, sleep=kernel.sleep)
            board.open()
            return board

        monkeypatch.setattr(opening, "open_board", machine)
        before = kernel.snapshot()
        boards.append(opening.opened(CONFIG, print))
        return boards[-1], kernel, before

    yield build
    for board in boards:
        board.close()


def test_clusters_of_processors_are_one_clock_and_given_back(opened):
    board, kernel, before = opened("jetson-orin-nano")
    assert isinstance(board, DeviceView)
    assert list(opening.settable(board)) == ["cpu", "gpu", "emc"]
    lowest = {name: board.domains[name].available_hz[0] for name in ("cpu", "gpu")}
    assert board.apply(lowest) == lowest
    assert kernel.snapshot() != before
    board.close()
    assert kernel.snapshot() == before


def test_a_board_with_one_clock_of_a_kind_is_taken_as_it_is(opened):
    board, *_ = opened("raspberry-pi-5")
    assert list(opening.settable(board)) == ["cpu"]


@pytest.mark.parametrize(
    ("device", "on_processor", "unit"),
    [("tx2", True, "gpu"), ("pi4", True, "cpu"), ("pi4", False, "gpu")],
)
def test_a_modelled_gpu_is_played_by_the_processor(clock, device, on_processor, unit):
    board = SimBoard(DeviceModel.load(device), clock=clock, sleep=clock.sleep)
    runtime = SimpleNamespace(is_on_processor=on_processor)
    assert opening.unit(board, runtime) == unit


def test_a_sensor_that_knows_its_gain_is_believed(emulated, sim):
    (rail,) = emulated.power_sensors.values()
    assert opening.sensor_gain(emulated) == rail.gain_error
    assert opening.sensor_gain(sim) == SENSOR_GAIN


def test_an_emulated_board_keeps_its_clocks(emulated, monkeypatch):
    monkeypatch.setattr(opening, "open_board", lambda *_, **__: emulated)
    assert opening.opened(CONFIG, print) is emulated
    assert list(opening.settable(emulated)) == ["cpu", "gpu"]
    found = opening.identity(
        CalibrationConfig("emulated", "m", Path("mine.toml"), 1.0), emulated, "m", "onnxruntime-cpu"
    )
    assert found.title == "board emulated"
    assert "(its clocks, power, temperature modelled)" in found.sentence(datetime.date(2026, 1, 2))

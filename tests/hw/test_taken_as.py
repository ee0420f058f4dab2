"""A machine that is taken for a device."""

from __future__ import annotations

import pytest

from hw.base import Cause, Hold
from hw.boards.linux import LinuxBoard
from hw.boards.taken_as import TakenAs
from hw.device import DeviceModel
from hw.errors import UnsupportedError
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS

PAIRS = {
    "tx2": "jetson-tx2",
    "nano": "jetson-nano",
    "xavier-nx": "jetson-xavier-nx",
    "orin-nano": "jetson-orin-nano",
    "agx-orin": "jetson-agx-orin",
    "pi4": "raspberry-pi-4",
}


def kernel_of(name: str):
    return BOARDS[name]("old" if name in ("jetson-tx2", "jetson-nano") else "new")


@pytest.fixture
def taken(tmp_path):
    """Open machines as devices, and close them afterwards."""
    opened = []

    def take(machine: str, device: str, clocks: list[str] | None = None) -> TakenAs:
        kernel = kernel_of(machine)
        sysfs = FakeSysfs(kernel, tmp_path)
        linux = LinuxBoard(sysfs, hold=Hold.PIN, domains=clocks, sleep=lambda _: None)
        board = TakenAs(linux, DeviceModel.load(device))
        opened.append((board, kernel, kernel.snapshot()))
        board.open()
        return board

    yield take
    for board, kernel, before in opened:
        board.close()
        assert kernel.snapshot() == before


@pytest.mark.parametrize(("device", "machine"), PAIRS.items())
def test_every_operating_point_of_a_device_is_set_on_its_machine(taken, device, machine):
    board = taken(machine, device)
    model = DeviceModel.load(device)
    assert board.fingerprint == model.fingerprint
    assert tuple(board.domains) == model.settable
    for name, domain in board.domains.items():
        assert domain.available_hz == model.domains[name].available_hz
        for hz in domain.available_hz:
            applied_hz = board.apply({name: hz})[name]
            if board.applied[name].cause is Cause.POWER_MODE:
                assert applied_hz < hz
                break
            assert applied_hz == board.verify()[name] == board.read_point()[name] == hz
        assert applied_hz > domain.available_hz[0]


def test_all_clusters_follow_and_the_lowest_is_read(taken):
    board = taken("jetson-tx2", "tx2")
    clusters = [board._machine.domains[name] for name in ("cpu0", "cpu1")]
    board.apply({"cpu": 960_000_000})
    assert [cluster.read_hz() for cluster in clusters] == [960_000_000] * 2
    clusters[1].request(499_200_000)
    assert board.read_point()["cpu"] == 499_200_000


def test_who_wins_is_told(taken):
    board = taken("jetson-tx2", "tx2")
    board.guard = None
    board.apply({"cpu": 2_035_200_000})
    files = board._machine.domains["cpu1"].files
    for file in (files.minimum, files.maximum):
        board._machine._sysfs.write_text(file, "499200")
    assert board.verify()["cpu"] == 499_200_000
    assert board.applied["cpu"].cause is Cause.PROGRAM


def test_another_machine_is_refused_untouched(taken):
    with pytest.raises(UnsupportedError, match=r"1510 MHz here, that of tx2 to 2035 MHz"):
        taken("jetson-orin-nano", "tx2")


def test_clock_that_is_missing_is_named(taken):
    with pytest.raises(UnsupportedError, match=r"tx2 sets the clock gpu.*found: cpu0, cpu1, emc"):
        taken("jetson-tx2", "tx2", ["cpu0", "cpu1", "emc"])


def test_energy_temperature_and_limits_are_the_machines(taken):
    board = taken("jetson-orin-nano", "orin-nano")
    machine = board._machine
    assert board.temperature_c() == machine.temperature_c()
    assert board.temperature_limit_c == machine.temperature_limit_c
    assert board.shortest_window_s == machine.shortest_window_s
    assert board.power_sensors.keys() == machine.power_sensors.keys()
    assert not board.modelled

"""A machine that is taken for a device."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hw.base import Cause, Hold
from hw.boards.device_view import DeviceView
from hw.boards.linux import LinuxBoard
from hw.device.model import DeviceModel
from hw.errors import UnsupportedError
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.read_point import read_point

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

    def take(
        machine: str,
        device: str | DeviceModel,
        clocks: list[str] | None = None,
        hold: Hold = Hold.PIN,
    ) -> DeviceView:
        kernel = kernel_of(machine)
        sysfs = FakeSysfs(kernel, tmp_path)
        linux = LinuxBoard(sysfs, hold=hold, domains=clocks, sleep=lambda _: None)
        model = device if isinstance(device, DeviceModel) else DeviceModel.load(device)
        board = DeviceView(linux, model)
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
            assert applied_hz == board.verify()[name] == board.domains[name].read_hz() == hz
        assert applied_hz > domain.available_hz[0]


def test_all_clusters_follow_and_the_lowest_is_read(taken):
    board = taken("jetson-tx2", "tx2")
    clusters = [board._machine.domains[name] for name in ("cpu0", "cpu1")]
    board.apply({"cpu": 960_000_000})
    assert [cluster.read_hz() for cluster in clusters] == [960_000_000] * 2
    clusters[1].request(499_200_000)
    assert board.domains["cpu"].read_hz() == 499_200_000


def test_who_wins_is_told(taken):
    board = taken("jetson-tx2", "tx2")
    board.guard = None
    board.apply({"cpu": 2_035_200_000})
    sysfs, files = board._machine._sysfs, board._machine.domains["cpu1"].files
    for file in (files.minimum, files.maximum):
        sysfs.write_text(file, "499200")
    assert board.verify()["cpu"] == 499_200_000
    assert board.applied["cpu"].cause is Cause.PROGRAM
    board.close()
    assert [sysfs.read_int(file) for file in (files.minimum, files.maximum)] == [499_200] * 2
    sysfs.write_text(files.maximum, "2035200")  # as before, which the fixture looks at
    sysfs.write_text(files.minimum, "345600")


def test_caps_are_told_as_they_are_asked_for(taken):
    board = taken("jetson-tx2", "tx2", hold=Hold.CAP)
    for hz in board.domains["cpu"].available_hz:
        assert board.apply({"cpu": hz}) == board.verify() == {"cpu": hz}


def like(name: str, cpu_hz: tuple[int, ...]) -> DeviceModel:
    """A device model with other operating points of the processor."""
    model = DeviceModel.load(name)
    cpu = replace(model.domains["cpu"], available_hz=cpu_hz)
    return replace(model, domains={**model.domains, "cpu": cpu})


RK3588 = (408_000_000, 1_008_000_000, 1_800_000_000, 2_208_000_000, 2_400_000_000)


def test_a_cluster_that_gives_all_it_can_holds_nobody_back(taken):
    """An RK3588's small cluster ends at 1800 MHz."""
    device = like("pi4", RK3588)
    board = taken("rk3588", device)
    for hz in RK3588:
        assert board.apply({"cpu": hz}) == board.verify() == read_point(board) == {"cpu": hz}
        assert board.applied["cpu"].cause is None


def test_a_machine_that_goes_higher_is_never_raised_by_rounding(taken):
    """1600 MHz lies above the device's highest point and below the machine's."""
    points = (816_000_000, 1_296_000_000, 2_200_000_000)
    board = taken("rk3588", like("pi4", points))
    fast = board._machine.domains["cpu4"]
    for hz in fast.available_hz:
        for member in board._machine.domains.values():
            if member.name.startswith("cpu"):
                member.request(min(hz, member.available_hz[-1]))
        read_hz = board.domains["cpu"].read_hz()
        board.apply({"cpu": read_hz})
        assert fast.read_hz() <= hz or hz < points[0]


def test_processors_that_are_offline_make_nobody_wait(taken):
    board = taken("jetson-tx2", "tx2")
    board.apply({"cpu": 960_000_000})
    kernel = board._machine._sysfs.kernel
    for cpu in (1, 2):
        kernel.write(f"sys/devices/system/cpu/cpu{cpu}/online", "0")
    assert board.verify()["cpu"] == 960_000_000
    for cpu in (1, 2):
        kernel.write(f"sys/devices/system/cpu/cpu{cpu}/online", "1")


def test_a_machine_that_cannot_be_opened_is_given_back(tmp_path, monkeypatch):
    board = DeviceView(
        LinuxBoard(FakeSysfs(kernel_of("jetson-tx2"), tmp_path)), DeviceModel.load("tx2")
    )
    closed, close = [], board._machine.close
    monkeypatch.setattr("hw.boards.device_view.match_domains", interrupted)
    monkeypatch.setattr(board._machine, "close", lambda: closed.append(close()))
    with pytest.raises(KeyboardInterrupt):
        board.open()
    assert closed == [None]


def interrupted(*_):
    raise KeyboardInterrupt


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

from __future__ import annotations

from pathlib import Path

import pytest

from hw.base import Hold
from hw.boards.linux import LinuxBoard
from hw.boards.sim import SimBoard
from hw.device.model import DeviceModel
from hw.doctor.record import record
from hw.sensors import sampler
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.clock import FakeClock
from tests.hw.fake.kernel import GENERATIONS, NEW


@pytest.fixture(params=GENERATIONS)
def generation(request):
    """Both kinds of kernel: one that refuses, one that aggregates requests."""
    return request.param


@pytest.fixture
def machine(generation, tmp_path):
    """Build a board's fake kernel and the access to it: `sysfs = machine("jetson-tx2")`."""

    def build(board: str) -> FakeSysfs:
        return FakeSysfs(BOARDS[board](generation), tmp_path)

    return build


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """Other tests may starve a sampler for longer than is usual; fake time does not show that."""
    monkeypatch.setattr(sampler, "STILL_S", 30.0)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """Record a board of the newer kernel, once: `folder = recorded("jetson-tx2")`; not to write."""
    folders = {}

    def build(board: str) -> Path:
        if board not in folders:
            folders[board] = tmp_path_factory.mktemp("recorded") / board
            record(FakeSysfs(BOARDS[board](NEW), Path("/nowhere")), folders[board])
        return folders[board]

    return build


@pytest.fixture
def open_linux():
    """Open a `LinuxBoard` over fake kernel files, by the fake kernel's clock; closed afterwards."""
    opened = []

    def build(sysfs: FakeSysfs, hold: Hold = Hold.PIN, **options) -> LinuxBoard:
        kernel = sysfs.kernel
        board = LinuxBoard(sysfs, hold=hold, clock=kernel.clock, sleep=kernel.sleep, **options)
        opened.append(board)
        board.open()
        return board

    yield build
    for board in opened:
        board.close()


@pytest.fixture(scope="session")
def tx2():
    return DeviceModel.load("tx2")


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def board(tx2, clock):
    with SimBoard(tx2, clock=clock, sleep=clock.sleep) as opened:
        yield opened


@pytest.fixture
def pi(machine):
    return machine("raspberry-pi-4")

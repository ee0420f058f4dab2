from __future__ import annotations

import pytest

from hw.boards.sim import SimBoard
from hw.device import DeviceModel
from tests.hw.fakes import FakeClock, FakeSysfs


@pytest.fixture(params=["old", "new"])
def sysfs(request, tmp_path):
    """An empty /sys, once with the old and once with the new kernel's cpufreq."""
    return FakeSysfs(tmp_path, kernel=request.param)


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

from __future__ import annotations

import pytest

from hw.boards.emulated import EmulatedBoard
from hw.boards.sim import SimBoard
from hw.device.model import DeviceModel
from tests.hw.fake.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def busy():
    """Processor time of whoever works."""
    return FakeClock()


@pytest.fixture
def emulated(clock, busy):
    with EmulatedBoard(clock=clock, sleep=clock.sleep, busy_clock=busy) as board:
        yield board


@pytest.fixture
def sim(clock):
    with SimBoard(DeviceModel.load("tx2"), clock=clock, sleep=clock.sleep) as board:
        yield board

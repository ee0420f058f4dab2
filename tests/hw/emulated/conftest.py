from __future__ import annotations

import pytest

from hw.boards.emulated import EmulatedBoard
from tests.hw.fake.clock import FakeClock


@pytest.fixture
def busy():
    """Processor time of the worker, s."""
    return FakeClock()


@pytest.fixture
def make(clock, busy):
    """Build a machine on a virtual clock, not open."""

    def build(**options) -> EmulatedBoard:
        return EmulatedBoard(clock=clock, sleep=clock.sleep, busy_clock=busy, **options)

    return build


@pytest.fixture
def emulated(make):
    with make() as board:
        yield board


@pytest.fixture
def work(clock, busy):
    """Do work that takes so much processor time, and maybe longer because other programs run."""

    def do(busy_s: float, wall_s: float | None = None) -> None:
        busy.sleep(busy_s)
        clock.sleep(busy_s if wall_s is None else wall_s)

    return do


@pytest.fixture
def hold(clock):
    """Set clocks and wait until they are in force."""

    def ask(board: EmulatedBoard, **point: int) -> None:
        board.apply(point)
        clock.sleep(0.05)

    return ask

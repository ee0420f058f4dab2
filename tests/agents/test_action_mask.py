"""A policy's mask and a board's guard are one rule."""

from __future__ import annotations

import numpy as np
import pytest

from agents.policy.thermal_mask import ThermalActionMask
from envs.spaces import observation_fields
from hw.boards.guard import ThermalGuard
from hw.boards.sim import SimBoard
from tests.hw.fake.clock import FakeClock

MARGIN_C = 4.0


@pytest.fixture
def board(world):
    clock = FakeClock()
    with SimBoard(world.device, clock=clock, sleep=clock.sleep) as board:
        yield board


@pytest.fixture
def mask(world):
    return ThermalActionMask(world.layout.axes, observation_fields(world.layout), MARGIN_C)


def observed(layout, margin_c, clocks_hz):
    """An observation in which all else lies in the middle."""
    fields = observation_fields(layout)
    values = {"temperature_margin_c": margin_c} | {f"{n}_hz": hz for n, hz in clocks_hz.items()}
    scaled = [
        2.0 * (values[f.name] - f.low) / (f.high - f.low) - 1.0 if f.name in values else 0.0
        for f in fields
    ]
    return np.array([scaled], dtype=np.float32)


@pytest.mark.parametrize("held", [0, 3, -1])
@pytest.mark.parametrize("left_c", [2.1, 3.9, 4.1, 30.0])
def test_mask_and_guard_leave_the_same_clocks(board, mask, world, left_c, held):
    """Within half the margin the guard goes lower still."""
    board.set_ambient(board.temperature_limit_c - world.device.thermal.offset_c - left_c)
    assert board.margin_c() == pytest.approx(left_c)
    tables = {axis.name: axis.values for axis in world.layout.axes[:-1]}
    in_force = {name: int(values[held]) for name, values in tables.items()}
    guard = ThermalGuard(MARGIN_C)
    guard._held_hz = dict(in_force)
    lowered = guard.limit(board, {name: int(values[-1]) for name, values in tables.items()})
    observation = observed(world.layout, left_c, in_force)
    blocks = np.split(
        mask.allowed(observation)[0], np.cumsum([len(axis.values) for axis in world.layout.axes])
    )
    for (name, values), allowed in zip(tables.items(), blocks, strict=False):
        assert values[np.flatnonzero(allowed)[-1]] == lowered[name]
    assert blocks[len(tables)].all()  # any route


def test_a_clock_below_the_table_leaves_the_lowest_point(mask, world):
    stopped = dict.fromkeys(world.layout.domains, 0.0)
    allowed = mask.allowed(observed(world.layout, 1.0, stopped))[0]
    n = len(world.layout.axes[0].values)
    assert allowed[:n].tolist() == [True] + [False] * (n - 1)

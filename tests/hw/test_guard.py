from __future__ import annotations

import pytest

from hw.base import Applied, Cause
from hw.guard import ThermalGuard

LIMIT_C = 80.0  # of a Raspberry Pi
HZ = [hz * 100_000_000 for hz in range(6, 19)]


@pytest.fixture
def pi(machine, open_linux):
    """A board whose temperature the test sets, with all its clocks at 1.5 GHz."""
    sysfs = machine("raspberry-pi-4")
    board = open_linux(sysfs)
    board.zone = sysfs.kernel.devices["cpu-thermal"]
    board.kernel = sysfs.kernel
    board.apply({"cpu": 1_500_000_000})
    return board


def ask(board, temperature_c: float, hz: int) -> int:
    board.zone.temp_c = temperature_c
    return board.apply({"cpu": hz})["cpu"]


def test_cool_board_does_as_it_is_told(pi):
    for hz in (1_800_000_000, 600_000_000, 1_000_000_000):
        assert ask(pi, LIMIT_C - 5.1, hz) == hz
        assert pi.applied["cpu"].cause is None


def test_warm_board_gets_current_or_lower_clocks(pi):
    assert ask(pi, LIMIT_C - 4.0, 1_800_000_000) == 1_500_000_000
    assert pi.applied["cpu"] == Applied(1_800_000_000, 1_500_000_000, Cause.GUARD)
    assert ask(pi, LIMIT_C - 4.0, 1_000_000_000) == 1_000_000_000
    assert pi.applied["cpu"].cause is None
    assert ask(pi, LIMIT_C - 4.0, 1_500_000_000) == 1_000_000_000


def test_hot_board_goes_down_a_point_each_step_to_the_lowest(pi):
    got = [ask(pi, LIMIT_C - 1.0, 1_800_000_000) for _ in range(12)]
    assert got == [*reversed(HZ[: HZ.index(1_500_000_000)]), HZ[0], HZ[0], HZ[0]]
    assert pi.kernel.devices["policy0"].limits_khz() == (600_000, 600_000)


def test_board_that_has_cooled_down_is_free_again(pi):
    ask(pi, LIMIT_C - 1.0, 1_800_000_000)
    assert ask(pi, LIMIT_C - 10.0, 1_800_000_000) == 1_800_000_000


def test_what_the_guard_set_is_still_told_after_verifying(pi):
    ask(pi, LIMIT_C - 4.0, 1_800_000_000)
    assert pi.verify() == {"cpu": 1_500_000_000}
    assert pi.applied["cpu"].cause is Cause.GUARD


def test_board_that_starts_hot_is_held_at_what_it_runs_at(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    sysfs.kernel.devices["cpu-thermal"].temp_c = LIMIT_C - 4.0
    board = open_linux(sysfs)
    assert board.apply({"cpu": 1_800_000_000}) == {"cpu": 600_000_000}  # idle under ondemand


def test_margin_is_the_users(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    board = open_linux(sysfs, thermal_margin_c=30.0)
    assert board.apply({"cpu": 1_800_000_000}) == {"cpu": 600_000_000}


def test_machine_without_trip_points_has_no_guard(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    sysfs.kernel.remove("sys/class/thermal/thermal_zone0")
    assert open_linux(sysfs).guard is None


@pytest.mark.parametrize("margin_c", [2.0, 5.0])
def test_policy_that_always_asks_for_the_maximum_never_reaches_the_limit(board, clock, margin_c):
    """A modelled TX2 in a hot enclosure under full load, for ten minutes."""
    board.ambient_c = 62.0
    board.guard = ThermalGuard(margin_c)
    demand = board.device.workloads["vgg19_tensorrt"]
    top = {name: domain.available_hz[-1] for name, domain in board.domains.items()}
    hottest_c = 0.0
    while clock.slept_s < 600.0:
        board.apply(top)
        with board.run(demand):
            pass
        hottest_c = max(hottest_c, board.temperature_c())
    assert board.temperature_limit_c - margin_c < hottest_c < board.temperature_limit_c

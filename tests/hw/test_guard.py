from __future__ import annotations

import errno

import pytest

from hw.base import Applied, Cause
from hw.boards.guard import KNOWN_FOR_S, ThermalGuard
from tests.hw.read_point import read_point

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


def test_a_clock_between_two_points_is_held_at_the_lower_one(machine, open_linux):
    """As a governor leaves it; the nearest point may be above it."""
    sysfs = machine("raspberry-pi-4")
    board = open_linux(sysfs)
    sysfs.kernel.answers["sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq"] = "1060000"
    sysfs.kernel.devices["cpu-thermal"].temp_c = LIMIT_C - 4.0
    assert board.guard.limit(board, {"cpu": 1_800_000_000}) == {"cpu": 1_000_000_000}


def test_machine_without_trip_points_has_no_guard(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    sysfs.kernel.remove("sys/class/thermal/thermal_zone0")
    assert open_linux(sysfs).guard is None


# A board that does not tell its temperature


TEMPERATURE = "sys/class/thermal/thermal_zone0/temp"
FAULTS = [errno.EAGAIN, errno.EIO, errno.EINVAL, errno.ENODEV, "", "garbage", "-274000", "999000"]


def break_zone(board, fault):
    if isinstance(fault, int):
        board.kernel.fails[TEMPERATURE] = fault
    else:
        board.kernel.answers[TEMPERATURE] = fault


def mend_zone(board):
    board.kernel.fails.clear()
    board.kernel.answers.clear()


@pytest.mark.parametrize("fault", FAULTS)
def test_unknown_temperature_lets_clocks_only_go_down_and_climb_back(pi, caplog, fault):
    assert ask(pi, 50.0, 1_500_000_000) == 1_500_000_000
    break_zone(pi, fault)
    pi.kernel.sleep(KNOWN_FOR_S)
    assert pi.apply({"cpu": 1_800_000_000}) == {"cpu": 1_800_000_000}  # the last one still counts
    pi.kernel.sleep(0.25)
    got = [pi.apply({"cpu": 1_800_000_000})["cpu"] for _ in range(14)]
    assert got == [*reversed(HZ[:-1]), HZ[0], HZ[0]]
    assert pi.applied["cpu"].cause is Cause.GUARD
    mend_zone(pi)
    assert pi.apply({"cpu": 1_800_000_000}) == {"cpu": 1_800_000_000}
    told = [record.message for record in caplog.records]
    assert sum("the temperature is unknown" in text for text in told) == 1
    assert sum("temperature limit works again after" in text for text in told) == 1


def test_hot_board_stays_guarded_while_its_sensor_fails(pi):
    assert ask(pi, LIMIT_C - 4.0, 1_800_000_000) == 1_500_000_000
    break_zone(pi, errno.EIO)
    assert pi.apply({"cpu": 1_800_000_000}) == {"cpu": 1_500_000_000}


def test_board_whose_temperature_was_never_known_goes_down_from_what_it_runs_at(
    machine, open_linux
):
    sysfs = machine("raspberry-pi-4")
    sysfs.kernel.fails[TEMPERATURE] = errno.EAGAIN
    board = open_linux(sysfs)
    board.apply({"cpu": 1_800_000_000})
    assert read_point(board) == {"cpu": 600_000_000}


def test_guard_of_a_board_that_tells_neither_temperature_nor_clock_asks_for_the_lowest(
    machine, open_linux
):
    sysfs = machine("raspberry-pi-4")
    board = open_linux(sysfs)
    sysfs.kernel.fails[TEMPERATURE] = errno.EIO
    sysfs.kernel.fails["sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq"] = errno.EIO
    allowed = board.guard.limit(board, {"cpu": 1_800_000_000})
    assert allowed == {"cpu": 600_000_000}


@pytest.mark.parametrize("margin_c", [2.0, 5.0])
def test_policy_that_always_asks_for_the_maximum_never_reaches_the_limit(board, clock, margin_c):
    """A modelled TX2 in a hot enclosure under full load, for ten minutes."""
    board.set_ambient(62.0)
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

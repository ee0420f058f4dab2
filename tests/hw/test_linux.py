from __future__ import annotations

import errno

import pytest

from hw.boards.linux import LinuxBoard
from hw.errors import (
    BoardNotFoundError,
    HardwareError,
    PermissionDeniedError,
    SensorReadError,
    UnsupportedError,
)
from tests.hw.test_hwmon import JETSON

POLICIES = "sys/devices/system/cpu/cpufreq"
ZONES = "sys/class/thermal"


@pytest.fixture
def machine(sysfs):
    sysfs.add_policy(0).add_policy(4, limits_khz=(800_000, 1_000_000)).add(JETSON)
    for number, raw_millicelsius in enumerate((40_000, 55_000)):
        sysfs.add(
            {
                f"{ZONES}/thermal_zone{number}/type": "t",
                f"{ZONES}/thermal_zone{number}/temp": raw_millicelsius,
                f"{ZONES}/thermal_zone{number}/trip_point_0_type": "passive",
                f"{ZONES}/thermal_zone{number}/trip_point_0_temp": 95_000 + number,
            }
        )
    return sysfs


def test_machine_is_left_as_it_was(machine):
    before = machine.snapshot()
    with LinuxBoard(machine) as board:
        board.apply({"cpu0": 600_000_000, "cpu4": 1_500_000_000})
        assert machine.snapshot() != before
    after = machine.snapshot()
    limits = [name for name in before if "cur_freq" not in name]
    assert {name: after[name] for name in limits} == {name: before[name] for name in limits}


def test_clocks_that_were_not_set_are_not_written(machine):
    with LinuxBoard(machine):
        pass
    assert machine.writes == []


def _pin_then_fail(board):
    board.apply({"cpu0": 600_000_000})
    board.apply({"gpu": 1})


def test_machine_is_left_as_it_was_after_an_exception(machine):
    before = machine.snapshot()[f"{POLICIES}/policy0/scaling_max_freq"]
    board = LinuxBoard(machine)
    with pytest.raises(UnsupportedError), board:
        _pin_then_fail(board)
    assert machine.snapshot()[f"{POLICIES}/policy0/scaling_max_freq"] == before


def test_opening_twice_saves_the_first_state(machine):
    before = machine.snapshot()[f"{POLICIES}/policy0/scaling_max_freq"]
    board = LinuxBoard(machine)
    board.open()
    board.apply({"cpu0": 600_000_000})
    board.open()
    board.close()
    assert machine.snapshot()[f"{POLICIES}/policy0/scaling_max_freq"] == before


def test_failing_restore_names_the_clock_and_restores_the_others(machine):
    board = LinuxBoard(machine)
    board.open()
    board.apply({"cpu0": 600_000_000, "cpu4": 600_000_000})
    machine.fails[f"{POLICIES}/policy4/scaling_min_freq"] = errno.EACCES
    with pytest.raises(HardwareError, match=r"clock cpu4.*policy4"):
        board.close()
    assert machine.snapshot()[f"{POLICIES}/policy0/scaling_max_freq"] == "1500000\n"


def test_apply_returns_and_read_point_reads_what_the_kernel_reports(machine):
    with LinuxBoard(machine) as board:
        applied = board.apply({"cpu0": 810_000_000, "cpu4": 1_000_000_000})
        assert applied == {"cpu0": 800_000_000, "cpu4": 1_000_000_000}
        assert board.read_point() == applied


def test_unknown_clock_is_an_error_before_any_write(machine):
    with LinuxBoard(machine) as board:
        with pytest.raises(UnsupportedError, match=r"'gpu'.*cpu0, cpu4"):
            board.apply({"cpu0": 600_000_000, "gpu": 1})
        assert machine.writes == []


def test_user_without_rights_gets_the_remedy(machine):
    machine.fails[f"{POLICIES}/policy0/scaling_min_freq"] = errno.EACCES
    with pytest.raises(PermissionDeniedError, match=r"policy0.*run as root"):
        LinuxBoard(machine).open()


def test_machine_without_cpufreq_is_not_found(sysfs):
    with pytest.raises(BoardNotFoundError, match=r"cpufreq.*--board sim"):
        LinuxBoard(sysfs).open()


def test_temperature_is_that_of_the_hottest_zone(machine):
    with LinuxBoard(machine) as board:
        assert board.temperature_c() == pytest.approx(55.0)
        assert board.temperature_limit_c == pytest.approx(95.0)


def test_missing_sensors_are_named_when_asked_for(sysfs):
    with LinuxBoard(sysfs.add_policy()) as board:
        with pytest.raises(UnsupportedError, match="temperature sensor"):
            board.temperature_c()
        with pytest.raises(UnsupportedError, match="trip point"):
            _ = board.temperature_limit_c
        with pytest.raises(UnsupportedError, match=r"no power sensor under .*hwmon"):
            board.begin_window()


def test_window_measures_the_input_rail(machine):
    ticks = iter(range(10**9))
    with LinuxBoard(machine, sample_period_s=60.0, clock=lambda: float(next(ticks))) as board:
        board.begin_window()
        reading = board.end_window()
    assert reading.energy_j == pytest.approx(6.0 * reading.duration_s)
    assert set(reading.mean_w) == {"VDD_IN", "VDD_SOC"}


def test_window_that_was_not_begun_is_an_error(machine):
    with LinuxBoard(machine) as board, pytest.raises(SensorReadError, match="begin one"):
        board.end_window()


def test_closing_ends_an_open_window(machine):
    board = LinuxBoard(machine, sample_period_s=0.001)
    board.open()
    board.begin_window()
    board.close()
    with pytest.raises(SensorReadError, match="begin one"):
        board.end_window()


def test_fingerprint_depends_on_the_operating_points(machine):
    with LinuxBoard(machine) as board:
        before = board.fingerprint
    machine.add_policy(4, table_khz=(1000, 2000), limits_khz=(1000, 2000))
    with LinuxBoard(machine) as board:
        assert board.fingerprint != before

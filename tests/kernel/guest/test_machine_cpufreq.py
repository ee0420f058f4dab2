"""The guest's cpufreq is the kernel's own, and does what hw's driver has to cope with."""

from __future__ import annotations

import fcntl
import os
import time

import pytest

from tests.kernel.guest.machine import (
    CPU_HZ,
    cooling_devices,
    limits,
    policies,
    pstate,
    read,
    settles,
    write,
)

CPU_KHZ = tuple(hz // 1000 for hz in CPU_HZ)
LOWEST, LOW, MIDDLE, HIGH, HIGHEST = CPU_KHZ


@pytest.fixture
def policy():
    """The first policy, under a governor that takes the highest clock at once."""
    folder = policies()[0]
    write(folder / "scaling_governor", "performance")
    return folder


def limits_settle(policy, low, high):
    return settles(lambda: limits(policy), (low, high))


def current_settles(policy, khz):
    return settles(lambda: int(read(policy / "scaling_cur_freq")), khz)


def test_each_of_two_processors_has_a_policy_with_five_clocks():
    assert [path.name for path in policies()] == ["policy0", "policy1"]
    for number, policy in enumerate(policies()):
        assert read(policy / "scaling_driver") == "acpi-cpufreq"
        assert read(policy / "affected_cpus") == str(number)
        table = read(policy / "scaling_available_frequencies").split()
        assert sorted(map(int, table)) == list(CPU_KHZ)
        assert limits_settle(policy, LOWEST, HIGHEST)


def test_only_the_register_shows_what_the_hardware_does(policy):
    assert not (policy / "cpuinfo_cur_freq").exists()
    assert settles(lambda: pstate(0), 1)
    write(policy / "scaling_max_freq", LOWEST)
    assert settles(lambda: pstate(0), 5)


def test_userspace_governor_takes_the_next_clock_above(policy):
    write(policy / "scaling_governor", "userspace")
    for wanted, taken in ((LOW, LOW), (LOW + 1, MIDDLE), (1, LOWEST), (9_999_999, HIGHEST)):
        write(policy / "scaling_setspeed", wanted)
        assert current_settles(policy, taken)


@pytest.mark.parametrize(
    ("file", "written", "read_back"),
    [
        ("scaling_max_freq", 900_000, (LOWEST, LOW)),
        ("scaling_max_freq", 1, (LOWEST, LOWEST)),
        ("scaling_max_freq", 9_999_999, (LOWEST, HIGHEST)),
        ("scaling_min_freq", 900_000, (MIDDLE, HIGHEST)),
        ("scaling_min_freq", 9_999_999, (HIGHEST, HIGHEST)),
        ("scaling_max_freq", "900000abc", (LOWEST, LOW)),
    ],
)
def test_limits_read_back_as_table_entries_inside_what_was_asked(policy, file, written, read_back):
    write(policy / file, written)
    assert limits_settle(policy, *read_back)


def test_minimum_above_maximum_is_accepted_and_springs_back(policy):
    write(policy / "scaling_min_freq", HIGH)
    write(policy / "scaling_max_freq", LOW)
    assert limits_settle(policy, LOW, LOW)
    write(policy / "scaling_max_freq", HIGHEST)
    assert limits_settle(policy, HIGH, HIGHEST)


def test_maximum_between_entries_is_rounded_up_under_a_higher_minimum(policy):
    """More than was allowed: a cap has to be an entry of the table."""
    write(policy / "scaling_min_freq", HIGH)
    write(policy / "scaling_max_freq", 900_000)
    assert limits_settle(policy, MIDDLE, MIDDLE)


@pytest.mark.parametrize("value", ["nonsense", "-1"])
def test_no_number_is_refused(policy, value):
    with pytest.raises(OSError, match="Invalid argument"):
        write(policy / "scaling_max_freq", value)


def test_an_unknown_governor_is_refused_and_a_known_one_loaded(policy):
    with pytest.raises(OSError, match="Invalid argument"):
        write(policy / "scaling_governor", "nonsense")
    write(policy / "scaling_governor", "ondemand")
    assert read(policy / "scaling_governor") == "ondemand"


def test_schedutil_follows_limits_late(policy):
    write(policy / "scaling_governor", "schedutil")
    write(policy / "scaling_max_freq", MIDDLE)
    write(policy / "scaling_min_freq", MIDDLE)
    assert limits_settle(policy, MIDDLE, MIDDLE)
    assert current_settles(policy, MIDDLE)


def test_cooling_caps_the_maximum_and_gives_it_back(policy):
    device, other = cooling_devices()
    assert read(device / "max_state") == "3"
    write(device / "cur_state", 1)
    # 80 % of the highest clock, rounded down to an entry.
    assert limits_settle(policy, LOWEST, MIDDLE)
    assert current_settles(policy, MIDDLE)
    assert limits_settle(policies()[1], LOWEST, HIGHEST)
    write(other / "cur_state", 3)
    assert limits_settle(policies()[1], LOWEST, LOW)
    write(device / "cur_state", 0)
    assert limits_settle(policy, LOWEST, HIGHEST)


def test_cooling_and_users_are_separate_requests(policy):
    device, _ = cooling_devices()
    write(policy / "scaling_max_freq", HIGH)
    write(device / "cur_state", 2)
    assert limits_settle(policy, LOWEST, LOW)
    write(policy / "scaling_max_freq", HIGHEST)
    time.sleep(0.1)
    assert limits(policy) == (LOWEST, LOW)
    write(device / "cur_state", 0)
    assert limits_settle(policy, LOWEST, HIGHEST)


def test_a_minimum_above_the_cooling_cap_waits(policy):
    """A clock pinned above the cap reads back as the entry next above the cap, not below."""
    device, _ = cooling_devices()
    write(policy / "scaling_min_freq", HIGH)
    write(policy / "scaling_max_freq", HIGH)
    write(device / "cur_state", 2)
    assert limits_settle(policy, MIDDLE, MIDDLE)
    write(device / "cur_state", 0)
    assert limits_settle(policy, HIGH, HIGH)


def test_an_open_file_shows_fresh_values(policy):
    file = os.open(policy / "scaling_max_freq", os.O_RDWR)
    try:
        for khz in (LOW, HIGH):
            os.pwrite(file, str(khz).encode(), 0)
            assert settles(lambda: int(os.pread(file, 64, 0)), khz)
    finally:
        os.close(file)


def test_a_sysfs_file_can_be_locked(policy):
    with open(policy / "scaling_max_freq") as first, open(policy / "scaling_max_freq") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)

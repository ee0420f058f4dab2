"""A file that fails while a board is opened: parts are not taken for the whole, no limit moves."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hw.left_out import TRIES, Search
from hw.sensors.find import find_power
from hw.thermal.zones import all_zones
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.kernel import NEW
from tests.hw.test_rapl import two_dies

MIRRORS, DIES = "two dies with one counter", "two dies with a counter each"
MACHINES = [*BOARDS, MIRRORS, DIES]


def kernel_of(name):
    return BOARDS[name](NEW) if name in BOARDS else two_dies(mirror=name == MIRRORS)


def sysfs_of(kernel):
    return FakeSysfs(kernel, Path("/nowhere"))


def fail_read(kernel, number, times, code=errno.EIO):
    """Let a read fail, counted from 0, and the next ones of the same file, `times` in all."""
    access, seen, failing = kernel.access, [], []

    def read(operation, path, value=""):
        if operation in ("read", "run"):
            if len(seen) == number:
                failing.append(kernel.real_path(path))
            seen.append(path)
            if failing.count(kernel.real_path(path)) in range(1, times + 1):
                failing.append(kernel.real_path(path))
                raise OSError(code, os.strerror(code), path)
        return access(operation, path, value)

    kernel.access = read
    return seen


def power_of(kernel):
    return find_power(sysfs_of(kernel), clock=kernel.clock, sleep=kernel.sleep)


def limits_of(kernel):
    search = Search(sleep=kernel.sleep)
    zones = all_zones(sysfs_of(kernel), search)
    return {name: zone.limit_c for name, zone in zones.items()}, search.unread


def n_reads(name, find):
    kernel = kernel_of(name)
    seen = fail_read(kernel, -1, 0)
    find(kernel)
    return len(seen)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("times", [1, TRIES - 1])
def test_a_file_that_fails_for_a_moment_changes_no_total(name, times):
    healthy = power_of(kernel_of(name))
    for number in range(n_reads(name, power_of)):
        kernel = kernel_of(name)
        seen = fail_read(kernel, number, times)
        power = power_of(kernel)
        assert power.total == healthy.total, seen[number]
        assert {*power.sensors, *power.counters} == {*healthy.sensors, *healthy.counters}
        assert power.unread == healthy.unread


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ENODEV])
def test_a_file_that_never_answers_makes_no_total_of_parts(name, code):
    healthy = power_of(kernel_of(name)).total
    for number in range(n_reads(name, power_of)):
        kernel = kernel_of(name)
        seen = fail_read(kernel, number, 1000, code)
        power = power_of(kernel)
        # A user who may not read the processor's counters has the battery, which is a whole too.
        assert power.total.rails in (healthy.rails, (), ("battery.BAT0",)), seen[number]
        if power.total.rails != healthy.rails:
            assert any(seen[number] in text for text in power.unread)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("jetson-orin-nano", "sys/class/hwmon/hwmon1/in1_label"),
        ("jetson-nano", "rail_name_0"),
        ("x86-intel", "sys/class/powercap/intel-rapl:1/name"),
    ],
)
def test_a_name_that_is_empty_makes_no_total_of_parts(name, file):
    kernel = kernel_of(name)
    (path,) = {kernel.real_path(p) for p in kernel._attributes if p.endswith(file)} or {file}
    kernel.answers[kernel.real_path(path)] = "\n"
    power = power_of(kernel)
    assert power.total.rails == ()
    assert "cannot be read" in power.total.statement


def test_a_channel_whose_switch_cannot_be_read_is_measured_all_the_same():
    kernel = kernel_of("jetson-orin-nano")
    kernel.fails["sys/class/hwmon/hwmon1/in1_enable"] = errno.EIO
    power = power_of(kernel)
    assert power.total.rails == ("VDD_IN",)
    assert any("in1_enable" in text for text in power.unread)


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("times", [1, TRIES - 1])
def test_a_file_that_fails_for_a_moment_moves_no_limit(name, times):
    healthy = limits_of(kernel_of(name))
    for number in range(n_reads(name, limits_of)):
        kernel = kernel_of(name)
        seen = fail_read(kernel, number, times)
        assert limits_of(kernel) == healthy, seen[number]


@pytest.mark.parametrize("name", BOARDS)
def test_a_limit_that_moves_for_good_is_told_with_its_file(name):
    healthy, _ = limits_of(kernel_of(name))
    for number in range(n_reads(name, limits_of)):
        kernel = kernel_of(name)
        seen = fail_read(kernel, number, 1000)
        limits_c, unread = limits_of(kernel)
        assert limits_c == healthy or any(seen[number] in text for text in unread)


def test_board_that_is_left_without_any_limit_says_so(machine, open_linux, caplog):
    sysfs = machine("rk3588")
    for path in sysfs.kernel.glob("sys/class/thermal/thermal_zone*/trip_point_*_temp"):
        sysfs.kernel.fails[path] = errno.EIO
    assert open_linux(sysfs).guard is None
    told = [r.message for r in caplog.records if "is not guarded against heat" in r.message]
    assert len(told) == 1


@pytest.mark.parametrize("name", BOARDS)
def test_board_with_a_limit_does_not_say_so(machine, open_linux, caplog, name):
    assert open_linux(machine(name)).guard is not None
    assert "is not guarded" not in caplog.text

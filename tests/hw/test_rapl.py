"""Energy counters of x86: they wrap, and what cannot be read is never zero."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.errors import HardwareError, ImplausibleReadingError, SensorReadError
from hw.left_out import Search
from hw.sensors.find import find_power
from hw.sensors.rapl import rapl_counters
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.energy import RaplZone
from tests.hw.fake.kernel import FakeKernel

RANGE_UJ = 100_000_000


def counters_of(kernel, unread=None):
    search = Search([] if unread is None else unread, sleep=kernel.sleep)
    return rapl_counters(FakeSysfs(kernel, Path("/nowhere")), search, kernel.clock)


@given(
    start_uj=st.integers(0, RANGE_UJ),
    steps=st.lists(st.tuples(st.floats(0, 50), st.floats(0, 1.9)), min_size=1, max_size=30),
)
def test_counter_that_wraps_goes_on(start_uj, steps):
    kernel = FakeKernel()
    zone = RaplZone(kernel, "intel-rapl:0", "package-0", 0.0, max_energy_range_uj=RANGE_UJ)
    zone.start_at_uj(start_uj)
    (counter,) = counters_of(kernel)
    first_j = last_j = counter.read_j()
    drawn_j = 0.0
    for watts, seconds in steps:
        zone.watts = watts
        kernel.sleep(seconds)
        drawn_j += watts * seconds
        now_j = counter.read_j()
        assert now_j >= last_j
        last_j = now_j
        assert now_j - first_j == pytest.approx(drawn_j, abs=3 * counter.step_j)


def test_counter_goes_from_its_highest_value_to_zero():
    kernel = FakeKernel()
    folder = "sys/class/powercap/intel-rapl:0"
    kernel.add({"name": "package-0", "energy_uj": 1000, "max_energy_range_uj": 1000}, folder)
    (counter,) = counters_of(kernel)
    counter.read_j()
    kernel.set(f"{folder}/energy_uj", 0)
    assert counter.read_j() == pytest.approx(1e-6)


def test_zones_are_named_with_their_package(machine):
    names = [counter.name for counter in rapl_counters(machine("x86-intel"))]
    parts = ["core", "uncore", "dram"]
    assert sorted(names) == sorted(["package-0", "psys", *(f"package-0.{p}" for p in parts)])


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ENODATA])
def test_failed_reading_is_an_error_and_never_zero(machine, code):
    sysfs = machine("x86-amd")
    counter = find_power(sysfs).counters["package-0"]
    sysfs.kernel.fails["sys/class/powercap/intel-rapl:0/energy_uj"] = code
    with pytest.raises(HardwareError, match="energy_uj"):
        counter.read_j()


def test_user_without_rights_is_told_once_and_has_no_counter(machine):
    sysfs = machine("x86-intel")
    sysfs.kernel.is_root = False
    power = find_power(sysfs)
    assert power.counters == {}
    (text,) = power.unread
    assert "energy_uj cannot be read; run as root, or give your group access" in text
    assert power.total.rails == ("battery.BAT0",)


# Counters that lie


FILE = "sys/class/powercap/intel-rapl:0/energy_uj"


@pytest.fixture
def zone():
    kernel = FakeKernel()
    return RaplZone(kernel, "intel-rapl:0", "package-0", 6.0)


@pytest.mark.parametrize("back_j", [0.001, 1.0, 5_000.0])
def test_step_back_is_no_wrap_and_fails_one_reading_only(zone, back_j):
    kernel = zone._kernel
    zone.start_at_uj(10_000_000_000)
    (counter,) = counters_of(kernel)
    kernel.sleep(1.0)
    before_j = counter.read_j()
    zone.start_at_uj(zone.energy_uj() - round(back_j * 1e6))
    with pytest.raises(ImplausibleReadingError, match=r"energy_uj went from .* is no wrap"):
        counter.read_j()
    kernel.sleep(1.0)
    assert counter.read_j() - before_j == pytest.approx(6.0, abs=0.01)


def test_leap_that_no_power_could_make_is_refused(zone):
    kernel = zone._kernel
    (counter,) = counters_of(kernel)
    kernel.sleep(0.25)
    zone.start_at_uj(zone.energy_uj() + 20_000_000_000)  # 62 kW after a resume
    with pytest.raises(ImplausibleReadingError):
        counter.read_j()


def test_window_over_a_step_back_fails_and_the_next_is_right(machine, open_linux):
    sysfs = machine("x86-amd")
    kernel = sysfs.kernel
    RaplZone(kernel, "intel-rapl:0:1", "dram", 2.0)  # so that the total is not nothing
    board = open_linux(sysfs)
    rapl = kernel.devices["rapl package-0"]
    rapl.start_at_uj(5_000_000_000)  # between two windows
    board.begin_window()
    kernel.sleep(0.25)
    assert board.end_window().energy_j == pytest.approx(7.0 * 0.25, abs=0.01)
    board.begin_window()
    kernel.sleep(0.25)
    rapl.start_at_uj(4_000_000_000)
    with pytest.raises(SensorReadError, match=r"rail package-0 gave too few .* is no wrap"):
        board.end_window()
    board.begin_window()
    kernel.sleep(0.25)
    assert board.end_window().energy_j == pytest.approx(7.0 * 0.25, abs=0.01)


def test_real_wrap_is_still_one(zone):
    kernel = zone._kernel
    zone.start_at_uj(zone.max_energy_range_uj - 1_000_000)
    (counter,) = counters_of(kernel)
    first_j = counter.read_j()
    kernel.sleep(1.0)
    assert counter.read_j() - first_j == pytest.approx(6.0, abs=0.01)


@pytest.mark.parametrize(
    ("limits", "most_w"),
    [
        ({"constraint_0_max_power_uw": 28_000_000, "constraint_1_power_limit_uw": 64_000_000}, 128),
        ({"constraint_0_max_power_uw": 0, "constraint_0_power_limit_uw": 0}, 2000),
        ({"constraint_0_power_limit_uw": 4_095_875_000}, 2000),
        ({}, 2000),
    ],
)
def test_firmwares_limits_bound_what_is_believed(zone, limits, most_w):
    kernel = zone._kernel
    kernel.add(limits, kernel.real_path("sys/class/powercap/intel-rapl:0"))
    (counter,) = counters_of(kernel)
    kernel.sleep(10.0)
    zone.start_at_uj(zone.energy_uj() + round(0.9 * most_w * 10e6))
    counter.read_j()
    kernel.sleep(10.0)
    zone.start_at_uj(zone.energy_uj() + round(1.1 * most_w * 10e6))
    with pytest.raises(ImplausibleReadingError, match=f"more than {most_w} W"):
        counter.read_j()


@pytest.mark.parametrize("raw", ["-1", "99999999999999"])
def test_value_outside_the_range_is_refused(zone, raw):
    kernel = zone._kernel
    (counter,) = counters_of(kernel)
    kernel.answers[FILE] = raw
    with pytest.raises(ImplausibleReadingError, match="outside 0 to"):
        counter.read_j()


def two_dies(mirror):
    """A processor of two dies that draws 68 W, and what each die and its cores show."""
    kernel = FakeKernel()
    watts = (68.0, 68.0) if mirror else (30.0, 38.0)
    for die, power_w in enumerate(watts):
        zone = RaplZone(kernel, f"intel-rapl:{die}", f"package-0-die-{die}", power_w)
        if not mirror:
            zone.start_at_uj(1_000_000_000 * (die + 1))
        RaplZone(kernel, f"intel-rapl:{die}:0", "core", power_w / 2)
        RaplZone(kernel, f"intel-rapl:{die}:1", "dram", 0.0 if mirror else 2.0)
    return kernel


@pytest.mark.parametrize(("mirror", "total_w"), [(True, 68.0), (False, 72.0)])
def test_dies_are_added_once_with_their_memory_and_without_their_cores(mirror, total_w):
    kernel = two_dies(mirror)
    power = find_power(FakeSysfs(kernel, Path("/nowhere")), clock=kernel.clock)
    before = {name: counter.read_j() for name, counter in power.counters.items()}
    kernel.sleep(10.0)
    rails = power.total.rails
    used_j = sum(power.counters[rail].read_j() - before[rail] for rail in rails)
    assert used_j == pytest.approx(10.0 * total_w, abs=0.01)
    assert not any("core" in rail for rail in rails)
    assert "processor packages" in power.total.statement
    told = [text for text in power.unread if "counts once" in text]
    assert len(told) == int(mirror)


def test_zone_without_a_range_is_left_out_and_the_others_stay(machine):
    sysfs = machine("x86-intel")
    sysfs.kernel.fails["sys/class/powercap/intel-rapl:0:0/max_energy_range_uj"] = errno.EIO
    power = find_power(sysfs)
    assert "package-0.core" not in power.counters
    assert "package-0" in power.counters
    assert "intel-rapl:0:0" in power.unread[0]

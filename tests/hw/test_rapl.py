"""Energy counters of x86: they wrap, and what cannot be read is never zero."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.errors import HardwareError
from hw.sensors.find import find_power
from hw.sensors.rapl import rapl_counters
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.energy import RaplZone
from tests.hw.fake.kernel import FakeKernel

RANGE_UJ = 100_000_000


@given(
    start_uj=st.integers(0, RANGE_UJ),
    steps=st.lists(st.tuples(st.floats(0, 50), st.floats(0, 1.9)), min_size=1, max_size=30),
)
def test_counter_that_wraps_goes_on(start_uj, steps):
    kernel = FakeKernel()
    zone = RaplZone(kernel, "intel-rapl:0", "package-0", 0.0, max_energy_range_uj=RANGE_UJ)
    zone.start_at_uj(start_uj)
    (counter,) = rapl_counters(FakeSysfs(kernel, Path("/nowhere")))
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
    (counter,) = rapl_counters(FakeSysfs(kernel, Path("/nowhere")))
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

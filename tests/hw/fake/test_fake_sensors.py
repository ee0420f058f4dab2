"""Fake sensors quantise, count and wrap as chips do, and heat slows clocks down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.fake.boards import BOARDS
from tests.hw.fake.cpus import CPU
from tests.hw.fake.energy import RaplZone
from tests.hw.fake.hwmon import Rail, add_ina2xx, add_ina3221
from tests.hw.fake.kernel import FakeKernel


def test_ina3221_quantises_and_has_no_data_of_disabled_channels():
    kernel = FakeKernel()
    rail = Rail("VDD_IN", 5.0, 5.003, 4.97)
    folder = add_ina3221(kernel, "sys/devices/i2c-1/1-0040", [rail, None])
    assert kernel.read(f"{folder}/in1_input") == "5000\n"
    assert kernel.read(f"{folder}/curr1_input") == "992\n"  # steps of 8 mA
    assert kernel.read(f"{folder}/in7_input") == kernel.read(f"{folder}/in4_input")
    assert kernel.read(f"{folder}/in2_label") == "NC\n"
    kernel.write(f"{folder}/in1_enable", "0")
    for file in ("in1_input", "curr1_input", "in2_input"):
        with pytest.raises(OSError, match="No data"):
            kernel.read(f"{folder}/{file}")


@pytest.mark.parametrize("chip", ["ina219", "ina226", "ina238"])
@given(watts=st.floats(0, 30))
def test_ina2xx_power_is_near_in_uw(chip, watts):
    kernel = FakeKernel()
    folder = add_ina2xx(kernel, "sys/devices/i2c-1/1-0041", chip, Rail("in", 10.0, 12.0, watts))
    assert int(kernel.read(f"{folder}/power1_input")) == pytest.approx(watts * 1e6, abs=30_000)


@given(steps=st.lists(st.tuples(st.floats(0, 50), st.floats(0, 20)), max_size=20))
def test_rapl_counts_energy_and_wraps(steps):
    kernel = FakeKernel()
    zone = RaplZone(kernel, "intel-rapl:0", "package-0", 5.0, max_energy_range_uj=100_000_000)
    path = "sys/class/powercap/intel-rapl:0/energy_uj"
    total_uj = 0.0
    for watts, seconds in steps:
        zone.watts = watts
        kernel.sleep(seconds)
        total_uj += watts * seconds * 1e6
    apart_uj = (int(kernel.read(path)) - total_uj) % 100_000_001
    assert min(apart_uj, 100_000_001 - apart_uj) < 100


def test_heat_caps_the_clock_and_cooling_frees_it():
    kernel = BOARDS["jetson-orin-nx"]("new")
    before = kernel.snapshot()
    kernel.devices["cpu-thermal"].heat_to(101.5)
    assert int(kernel.read(f"{CPU}/cpufreq/policy0/scaling_max_freq")) == 1_804_800
    kernel.devices["cpu-thermal"].heat_to(60)
    assert kernel.snapshot() == before

"""The guest's devfreq is the kernel's own, over clocks that misbehave on request."""

from __future__ import annotations

import os
import time

import pytest

from tests.kernel.guest.machine import (
    EMC,
    EMC_HZ,
    GPU,
    GPU_HZ,
    SWITCHES,
    cooling_devices,
    limits,
    read,
    write,
)

SWITCH = SWITCHES / GPU.name


def current():
    return int(read(GPU / "cur_freq"))


@pytest.mark.parametrize(("device", "table"), [(GPU, GPU_HZ), (EMC, EMC_HZ)])
def test_devices_stand_where_a_jetson_has_them(device, table):
    assert os.path.realpath(device) == (
        f"/sys/devices/platform/{device.name}/devfreq/{device.name}"
    )
    assert tuple(map(int, read(device / "available_frequencies").split())) == table
    assert read(device / "governor") == "performance"
    assert {"performance", "userspace"} <= set(read(device / "available_governors").split())
    assert int(read(device / "cur_freq")) == table[-1]


def test_pinning_takes_effect_at_once():
    write(GPU / "max_freq", GPU_HZ[3])
    assert current() == GPU_HZ[3]
    write(GPU / "min_freq", GPU_HZ[3])
    assert limits(GPU) == (GPU_HZ[3], GPU_HZ[3])


def test_limits_read_back_in_khz_and_not_as_table_entries():
    write(GPU / "max_freq", 700_000_001)
    write(GPU / "min_freq", 500_000_999)
    assert limits(GPU) == (500_000_000, 700_001_000)
    assert current() == 624_750_000


def test_zero_means_no_limit():
    write(GPU / "max_freq", GPU_HZ[2])
    write(GPU / "max_freq", 0)
    write(GPU / "min_freq", 0)
    assert limits(GPU) == (GPU_HZ[0], GPU_HZ[-1])


def test_minimum_above_maximum_is_accepted_and_springs_back():
    write(GPU / "max_freq", GPU_HZ[2])
    write(GPU / "min_freq", GPU_HZ[5])
    assert limits(GPU) == (GPU_HZ[2], GPU_HZ[2])
    write(GPU / "max_freq", 0)
    assert limits(GPU) == (GPU_HZ[5], GPU_HZ[-1])


def test_userspace_governor_remembers_what_was_asked():
    assert not (GPU / "userspace").exists()
    write(GPU / "governor", "userspace")
    write(GPU / "userspace/set_freq", 400_000_000)
    assert read(GPU / "userspace/set_freq") == "400000000"
    assert current() == GPU_HZ[3]


def test_a_refusing_firmware_shows_only_in_the_current_clock():
    write(SWITCH / "refuse", "Y")
    write(GPU / "max_freq", GPU_HZ[3])
    assert limits(GPU)[1] == int(read(GPU / "target_freq")) == GPU_HZ[3]
    assert current() == GPU_HZ[-1]


def test_a_delayed_clock_comes_later():
    write(SWITCH / "delay_ms", 300)
    write(GPU / "max_freq", GPU_HZ[3])
    assert current() == GPU_HZ[-1]
    time.sleep(0.35)
    assert current() == GPU_HZ[3]


def test_a_firmware_cap_is_silent():
    write(SWITCH / "cap_hz", 800_000_000)
    write(GPU / "min_freq", GPU_HZ[-2])
    assert limits(GPU) == (GPU_HZ[-2], GPU_HZ[-1])
    assert current() == 726_750_000


def test_cooling_caps_the_maximum_and_gives_it_back():
    (device,) = cooling_devices(f"devfreq-{GPU.name}")
    write(device / "cur_state", 5)
    assert limits(GPU) == (GPU_HZ[0], GPU_HZ[-6])
    write(device / "cur_state", 0)
    assert limits(GPU) == (GPU_HZ[0], GPU_HZ[-1])

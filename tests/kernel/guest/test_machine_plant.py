"""The modelled board: clocks in force go in, readings of real drivers come out."""

from __future__ import annotations

import time

import pytest

from tests.kernel.guest.machine import GPU, hwmon, policies, read, write, zone


def power_w(channel):
    chip = hwmon("ina3221")
    return int(read(chip / f"in{channel}_input")) * int(read(chip / f"curr{channel}_input")) * 1e-6


def settled_w(channel):
    """Power once the plant has seen the present clocks."""
    time.sleep(0.3)
    return power_w(channel)


def test_rails_follow_clocks_and_load(plant):
    idle_w = settled_w(1)
    plant(cpu_util=0.5, gpu_util=1.0, traffic_bytes_per_s=1e10)
    busy_w = settled_w(1)
    assert busy_w > idle_w + 5.0
    assert busy_w > power_w(2) + power_w(3)
    write(GPU / "max_freq", 420_750_000)
    assert settled_w(1) < busy_w - 2.0


def test_power_is_the_model_s(plant):
    from hw.device.model import DeviceModel

    device = DeviceModel.load("tx2")
    policy = policies()[0]
    write(policy / "scaling_governor", "performance")
    write(GPU / "max_freq", 726_750_000)
    plant(gpu_util=0.8)
    measured_w = [settled_w(channel) for channel in (1, 2, 3)]
    rails = device.power.rails_w(
        2.035e9, 726.75e6, 1866e6, cpu_util=0.0, gpu_util=0.8, traffic_bytes_per_s=0.0
    )
    expected_w = [float(rails.total_w), float(rails.gpu_w), float(rails.cpu_w)]
    # Half a step of the shunt voltage, and the current is shown in whole mA.
    assert measured_w == pytest.approx(expected_w, abs=0.1)


def test_the_zone_warms_up(plant):
    plant(gpu_util=1.0, ambient_c=60.0)
    time.sleep(0.5)
    first = int(read(zone() / "temp"))
    time.sleep(1.5)
    assert int(read(zone() / "temp")) > first > 60_000

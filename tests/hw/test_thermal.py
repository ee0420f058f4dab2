from __future__ import annotations

import pytest

from hw.errors import SensorReadError
from hw.thermal import thermal_zones

ZONE = "sys/class/thermal/thermal_zone0"


def test_zones_read_millicelsius(sysfs):
    sysfs.add({f"{ZONE}/type": "CPU-therm", f"{ZONE}/temp": 43_500})
    zones = thermal_zones(sysfs)
    assert zones["thermal_zone0.CPU-therm"].read_c() == pytest.approx(43.5)


def test_limits_are_the_trips_that_slow_the_machine(sysfs):
    sysfs.add(
        {
            f"{ZONE}/type": "CPU-therm",
            f"{ZONE}/trip_point_0_type": "active",
            f"{ZONE}/trip_point_0_temp": 50_000,
            f"{ZONE}/trip_point_1_type": "passive",
            f"{ZONE}/trip_point_1_temp": 95_500,
            f"{ZONE}/trip_point_2_type": "critical",
            f"{ZONE}/trip_point_2_temp": 101_000,
        }
    )
    assert thermal_zones(sysfs)["thermal_zone0.CPU-therm"].read_limits_c() == [95.5, 101.0]


def test_garbage_is_an_error(sysfs):
    sysfs.add({f"{ZONE}/type": "CPU-therm", f"{ZONE}/temp": "hot"})
    with pytest.raises(SensorReadError, match="temp"):
        thermal_zones(sysfs)["thermal_zone0.CPU-therm"].read_c()

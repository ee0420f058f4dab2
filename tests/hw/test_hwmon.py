from __future__ import annotations

import errno

import pytest

from hw.errors import SensorReadError
from hw.hwmon import power_sensors

JETSON = {
    "sys/class/hwmon/hwmon3/name": "ina3221",
    "sys/class/hwmon/hwmon3/in1_label": "VDD_IN",
    "sys/class/hwmon/hwmon3/in1_input": 5000,
    "sys/class/hwmon/hwmon3/curr1_input": 1200,
    "sys/class/hwmon/hwmon3/in2_label": "NC",
    "sys/class/hwmon/hwmon3/in3_label": "VDD_SOC",
    "sys/class/hwmon/hwmon3/in3_input": 4992,
    "sys/class/hwmon/hwmon3/curr3_input": 96,
    "sys/class/hwmon/hwmon3/in7_label": "sum of shunt voltages",
}


def test_ina3221_power_is_voltage_times_current_of_connected_channels(sysfs):
    sensors = power_sensors(sysfs.add(JETSON))
    assert list(sensors) == ["VDD_IN", "VDD_SOC"]
    assert sensors["VDD_IN"].read_w() == pytest.approx(6.0)
    assert sensors["VDD_SOC"].read_w() == pytest.approx(0.479232)


def test_direct_power_is_in_microwatts(sysfs):
    sysfs.add(
        {"sys/class/hwmon/hwmon0/name": "ina226", "sys/class/hwmon/hwmon0/power1_input": 2_500_000}
    )
    assert power_sensors(sysfs)["ina226.power1"].read_w() == pytest.approx(2.5)


def test_equal_labels_stay_apart(sysfs):
    for number in (0, 1):
        folder = f"sys/class/hwmon/hwmon{number}"
        sysfs.add({f"{folder}/name": "x", f"{folder}/power1_input": number * 1_000_000})
        sysfs.add({f"{folder}/power1_label": "core"})
    sensors = power_sensors(sysfs)
    assert {name: sensor.read_w() for name, sensor in sensors.items()} == {
        "core": 0.0,
        "hwmon1.core": 1.0,
    }
    assert sensors["hwmon1.core"].name == "hwmon1.core"


def test_chips_without_power_are_passed_over(sysfs):
    sysfs.add({"sys/class/hwmon/hwmon0/name": "nvme", "sys/class/hwmon/hwmon0/temp1_input": 40_000})
    assert power_sensors(sysfs) == {}


def test_disabled_channel_is_an_error(sysfs):
    sysfs.add(JETSON).fails["sys/class/hwmon/hwmon3/curr1_input"] = errno.ENODATA
    with pytest.raises(SensorReadError, match="curr1_input"):
        power_sensors(sysfs)["VDD_IN"].read_w()

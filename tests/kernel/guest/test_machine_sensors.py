"""The guest's sensors are the kernel's own drivers, over registers that tests set."""

from __future__ import annotations

import time

import pytest

from tests.kernel.guest.i2c import FREE_ADDRESS, INA226_ADDRESS, Chip, adapter
from tests.kernel.guest.machine import (
    TEMPERATURE,
    cooling_devices,
    hwmon,
    limits,
    policies,
    read,
    settles,
    write,
    zone,
)


def test_ina3221_shows_a_board_s_rails(ina3221):
    chip = hwmon("ina3221")
    labels = [read(chip / f"in{n}_label") for n in (1, 2, 3)]
    assert labels == ["VDD_IN", "VDD_SYS_GPU", "VDD_SYS_CPU"]
    for channel, ampere in ((1, 0.8), (2, 0.3), (3, 0.1)):
        ina3221.measure(channel, volt=19.0, ampere=ampere)
        assert read(chip / f"in{channel}_input") == "19000"
        assert int(read(chip / f"curr{channel}_input")) == pytest.approx(ampere * 1000, abs=4)


def test_ina3221_rows_that_are_no_rails(ina3221):
    chip = hwmon("ina3221")
    ina3221.measure(1, volt=19.0, ampere=0.8)
    assert read(chip / "in4_input") == str(round(0.8 * 0.005 * 1e6))
    assert read(chip / "in7_label") == "sum of shunt voltages"
    # No sum over shunt resistors that differ.
    for file in ("in7_input", "curr4_input"):
        with pytest.raises(OSError, match="No data available"):
            read(chip / file)


def test_a_disabled_channel_has_no_data():
    chip = hwmon("ina3221")
    write(chip / "in2_enable", 0)
    try:
        for file in ("in2_input", "curr2_input"):
            with pytest.raises(OSError, match="No data available"):
                read(chip / file)
    finally:
        write(chip / "in2_enable", 1)


def test_an_ina3221_that_no_one_described_has_no_labels():
    write(adapter() / "new_device", f"ina3221 {FREE_ADDRESS:#x}")
    try:
        bus = adapter().name.removeprefix("i2c-")
        (chip,) = adapter().glob(f"{bus}-{FREE_ADDRESS:04x}/hwmon/hwmon*")
        assert sorted(path.name for path in chip.glob("in*_label")) == ["in7_label"]
        assert read(chip / "shunt1_resistor") == "10000"
    finally:
        write(adapter() / "delete_device", f"{FREE_ADDRESS:#x}")


def test_ina226_gives_power_and_no_label():
    chip = hwmon("ina226")
    registers = Chip(INA226_ADDRESS)
    registers.write(2, 4000)  # bus voltage, 1.25 mV each
    registers.write(3, 1600)  # power, 6.25 mW each with a shunt resistor of 10 mOhm
    registers.close()
    assert read(chip / "in1_input") == "5000"
    assert read(chip / "power1_input") == "10000000"
    assert not list(chip.glob("*_label"))


def test_temperature_is_what_was_set():
    write(TEMPERATURE, 61_234)
    assert read(zone() / "temp") == "61234"
    assert read(hwmon("plant_thermal") / "temp1_input") == "61234"


def test_critical_temperature_leaves_the_machine_on():
    write(TEMPERATURE, 110_000)
    time.sleep(0.2)
    assert read(zone() / "temp") == "110000"


def bindings() -> dict[str, list[str]]:
    """Types of the cooling devices by the number of the trip that they are bound to."""
    found: dict[str, list[str]] = {}
    for file in zone().glob("cdev*_trip_point"):
        device = file.with_name(file.name.removesuffix("_trip_point"))
        found.setdefault(read(file), []).append(read(device / "type"))
    return found


def test_bindings_show_at_which_trip_each_cooling_device_acts():
    kinds = [read(zone() / f"trip_point_{number}_type") for number in range(3)]
    assert kinds == ["passive", "critical", "passive"]
    assert bindings() == {"0": ["Processor", "Processor"], "2": ["hot-surface-alert"]}


def test_alert_s_trip_changes_its_state_and_no_clock():
    policy, (alert,) = policies()[0], cooling_devices("hot-surface-alert")
    whole = limits(policy)
    write(zone() / "policy", "step_wise")
    write(TEMPERATURE, 72_000)
    assert settles(lambda: read(alert / "cur_state"), "1")
    assert limits(policy) == whole
    write(TEMPERATURE, 40_000)
    assert settles(lambda: read(alert / "cur_state"), "0")


def test_kernel_throttles_when_the_zone_s_policy_says_so():
    policy = policies()[0]
    whole = limits(policy)
    write(TEMPERATURE, 90_000)
    time.sleep(0.3)
    assert limits(policy) == whole
    write(zone() / "policy", "step_wise")
    write(TEMPERATURE, 91_000)
    assert settles(lambda: limits(policy) < whole, True)
    assert read(cooling_devices()[0] / "cur_state") != "0"
    write(TEMPERATURE, 40_000)
    assert settles(lambda: limits(policy), whole)

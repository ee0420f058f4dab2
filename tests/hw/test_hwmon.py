"""Power monitors of boards: what they show is within their step of what the rail draws."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hw.errors import ImplausibleReadingError, SensorReadError
from hw.sensors.find import find_power
from hw.sensors.hwmon import Shunt, hwmon_sensors
from hw.sensors.iio import iio_sensors
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.hwmon import Rail, add_chip, add_ina2xx, add_ina3221, add_ina3221_iio
from tests.hw.fake.kernel import FakeKernel

NOWHERE = Path("/nowhere")
DEVICE = "sys/devices/i2c-1/1-0040"


def sysfs_of(add, *arguments):
    kernel = FakeKernel()
    add(kernel, DEVICE, *arguments)
    return FakeSysfs(kernel, NOWHERE)


def check_within_step(sensor, rail, loads):
    for watts in loads:
        rail.watts = watts
        assert abs(sensor.read_w() - watts) <= sensor.step_w / 2 * 1.01 + 1e-5


volts = st.floats(3.0, 20.0)
watts = st.lists(st.floats(0, 30), min_size=1, max_size=4)


@given(volts=volts, loads=watts, shunt_mohm=st.sampled_from([2.0, 5.0, 10.0]))
def test_ina3221_is_wrong_by_half_a_step_at_most(volts, loads, shunt_mohm):
    rail = Rail("VDD_IN", shunt_mohm, volts)
    (sensor,) = hwmon_sensors(sysfs_of(add_ina3221, [rail]))
    check_within_step(sensor, rail, loads)


@given(volts=volts, loads=watts)
@example(volts=3.008, loads=[0.37296])  # 12.96 mW: half a step, and what is cut off
def test_iio_of_jetpack_4_is_wrong_by_half_a_step_at_most(volts, loads):
    rail = Rail("VDD_IN", 5.0, volts)
    (sensor,) = iio_sensors(sysfs_of(add_ina3221_iio, [rail]))
    check_within_step(sensor, rail, loads)


@pytest.mark.parametrize("chip", ["ina219", "ina226", "ina238"])
@given(volts=volts, loads=watts, shunt_mohm=st.sampled_from([10.0, 20.0, 100.0]))
def test_ina2xx_is_wrong_by_half_a_step_at_most(chip, volts, loads, shunt_mohm):
    rail = Rail("in", shunt_mohm, volts)
    (sensor,) = hwmon_sensors(sysfs_of(add_ina2xx, chip, rail))
    highest_w = {"ina219": 320, "ina226": 81.92, "ina238": 163.84}[chip] / shunt_mohm * volts
    loads = [min(load, highest_w) for load in loads]  # the converter ends there
    check_within_step(sensor, rail, loads)


@pytest.mark.parametrize(
    ("rail", "step_w"),
    [
        (Rail("Orin Nano VDD_IN", 5.0, 5.0, 0.0), 0.040),
        (Rail("AGX Orin VDD_GPU_SOC", 2.0, 19.9, 0.0), 0.398),
        (Rail("TX2 VDD_SYS_GPU", 10.0, 19.0, 0.0), 0.076),
    ],
    ids=lambda value: str(getattr(value, "label", "")),
)
def test_steps_of_jetson_rails_are_those_that_were_seen(rail, step_w):
    (sensor,) = hwmon_sensors(sysfs_of(add_ina3221, [rail]))
    sensor.read_w()
    assert sensor.step_w == pytest.approx(step_w, rel=0.01)


def test_rails_are_found_once_without_unconnected_disabled_and_summed_channels():
    rails = [Rail("VDD_IN"), Rail("NC"), Rail("VDD_SOC", is_enabled=False)]
    assert [s.name for s in hwmon_sensors(sysfs_of(add_ina3221, rails))] == ["VDD_IN"]


def test_power_in_uw_and_product_of_mv_and_ma_are_both_watts():
    kernel = FakeKernel()
    add_ina3221(kernel, DEVICE, [Rail("VDD_IN", 5.0, 5.0, 5.0)])
    add_ina2xx(kernel, f"{DEVICE}1", "ina226", Rail("in", 10.0, 12.0, 3.5))
    power_w = [sensor.read_w() for sensor in hwmon_sensors(FakeSysfs(kernel, NOWHERE))]
    assert power_w == pytest.approx([5.0, 3.5], abs=0.02)


def test_period_is_the_drivers_with_all_its_averaging():
    kernel = FakeKernel()
    folder = add_ina3221(kernel, DEVICE, [Rail("VDD_IN")])
    kernel.write(f"{folder}/update_interval", "422")  # 64 samples
    (sensor,) = hwmon_sensors(FakeSysfs(kernel, NOWHERE))
    assert sensor.period_s == 0.422


@pytest.mark.parametrize(
    ("chip", "period_s"), [("ina219", 1.1e-3), ("ina238", 50.5e-3), ("other", 0.1)]
)
def test_period_of_chips_that_do_not_tell_is_their_drivers_default(chip, period_s):
    sysfs = sysfs_of(add_chip, chip, {"power1_input": 1, "in1_input": 12_000})
    assert [s.period_s for s in hwmon_sensors(sysfs)] == [period_s]


def test_label_names_the_rail_and_chips_without_power_are_no_rails():
    kernel = FakeKernel()
    add_chip(kernel, "sys/devices/fan", "pwmfan", {"pwm1": 0})
    files = {"power1_input": 9_000_000, "power1_label": "PPT", "in1_input": 1000}
    add_chip(kernel, "sys/devices/gpu", "amdgpu", files)
    (sensor,) = hwmon_sensors(FakeSysfs(kernel, NOWHERE))
    assert (sensor.name, sensor.read_w()) == ("PPT", 9.0)


def test_rails_that_share_a_label_are_numbered():
    kernel = FakeKernel()
    for number in range(2):
        add_ina3221(kernel, f"{DEVICE}{number}", [Rail("VDD_IN", watts=number + 1.0)])
    sensors = find_power(FakeSysfs(kernel, NOWHERE)).sensors
    assert {name: s.read_w() for name, s in sensors.items()} == {"VDD_IN#1": 1.0, "VDD_IN#2": 2.0}


@pytest.mark.parametrize("code", [errno.ENODATA, errno.EIO, errno.EACCES])
def test_rail_that_cannot_be_read_is_told_and_the_others_stay(code):
    sysfs = sysfs_of(add_ina3221, [Rail("VDD_IN"), Rail("VDD_SOC")])
    broken = "sys/class/hwmon/hwmon0/curr1_input"
    sysfs.kernel.fails[broken] = code
    power = find_power(sysfs)
    assert list(power.sensors) == ["VDD_SOC"]
    assert len(power.unread) == 1
    assert broken in power.unread[0]


def test_channel_that_is_switched_off_later_is_an_error_and_never_zero():
    sysfs = sysfs_of(add_ina3221, [Rail("VDD_IN")])
    sensor = find_power(sysfs).sensors["VDD_IN"]
    sysfs.kernel.devices["VDD_IN"].is_enabled = False
    with pytest.raises(SensorReadError, match=r"in1_input has no data; enable its channel"):
        sensor.read_w()


def test_garbage_is_an_error():
    sysfs = sysfs_of(add_chip, "ina226", {"power1_input": "3.5 W", "in1_input": 12_000})
    (text,) = find_power(sysfs).unread
    assert "power1_input holds '3.5 W', not one whole number" in text


# What cannot be


MONITORS = {
    "ina3221": ("curr1_input", 1e-3 * 5.0),
    "ina219": ("power1_input", 1e-6),
    "ina226": ("power1_input", 1e-6),
    "ina238": ("power1_input", 1e-6),
    "amdgpu": ("power1_input", 1e-6),
    "iio": ("in_power0_input", 1e-3),
}


def monitor_of(chip):
    """A sensor of 5 W at 5 V, and its file, whose unit is so many W."""
    rail = Rail("VDD_IN", 10.0, 5.0, 5.0)
    file, unit_w = MONITORS[chip]
    if chip == "iio":
        sysfs = sysfs_of(add_ina3221_iio, [rail])
        (sensor,) = iio_sensors(sysfs)
        return sysfs.kernel, sensor, f"{DEVICE}/iio:device0/{file}", unit_w
    if chip == "ina3221":
        sysfs = sysfs_of(add_ina3221, [rail])
    elif chip == "amdgpu":
        sysfs = sysfs_of(add_chip, chip, {"power1_input": 5_000_000})
    else:
        sysfs = sysfs_of(add_ina2xx, chip, rail)
    (sensor,) = hwmon_sensors(sysfs)
    return sysfs.kernel, sensor, f"sys/class/hwmon/hwmon0/{file}", unit_w


@pytest.mark.parametrize("chip", MONITORS)
@pytest.mark.parametrize("impossible_w", [-5.0, -1e8, 1e8, 4000.0])
def test_power_that_the_monitor_cannot_measure_is_refused_and_forgotten(chip, impossible_w):
    kernel, sensor, file, unit_w = monitor_of(chip)
    power_w, step_w = sensor.read_w(), sensor.step_w
    kernel.answers[file] = str(round(impossible_w / unit_w))
    with pytest.raises(ImplausibleReadingError, match=r"which cannot be \(0 to \d+ W\)"):
        sensor.read_w()
    kernel.answers.clear()
    assert (sensor.read_w(), sensor.step_w) == (power_w, step_w)


def test_offset_of_a_monitor_may_bring_an_idle_rail_below_zero():
    kernel, sensor, file, _ = monitor_of("ina3221")
    kernel.answers[file] = "-8"
    assert sensor.read_w() == pytest.approx(-0.04)


def test_full_scale_of_the_shunt_bounds_what_is_believed():
    """An INA226 ends at 81.92 mV: 8.2 A over 10 mOhm, at 36 V at most."""
    kernel, sensor, file, unit_w = monitor_of("ina226")
    kernel.answers[file] = str(round(290.0 / unit_w))
    assert sensor.read_w() == pytest.approx(290.0)
    kernel.answers[file] = str(round(300.0 / unit_w))
    with pytest.raises(ImplausibleReadingError):
        sensor.read_w()


@pytest.mark.parametrize(("told_mohm", "is_default"), [(10.0, True), (100.0, False), (2.0, False)])
def test_shunt_is_known_and_whether_it_is_the_drivers_default(told_mohm, is_default):
    kernel = FakeKernel()
    add_ina2xx(kernel, DEVICE, "ina226", Rail("in", 100.0, 12.0, 3.5), told_mohm=told_mohm)
    (sensor,) = hwmon_sensors(FakeSysfs(kernel, NOWHERE))
    assert sensor.shunt == Shunt(round(1000 * told_mohm), is_default)
    assert sensor.read_w() == pytest.approx(3.5 * 100.0 / told_mohm, rel=0.01)


def test_one_chip_that_cannot_be_read_does_not_hide_the_others():
    kernel = FakeKernel()
    for number in range(2):
        add_ina3221(kernel, f"{DEVICE}{number}", [Rail(f"rail{number}")])
    kernel.fails["sys/class/hwmon/hwmon0/name"] = errno.EIO
    power = find_power(FakeSysfs(kernel, NOWHERE))
    assert list(power.sensors) == ["rail1"]
    assert "hwmon0/name" in power.unread[0]


@pytest.mark.parametrize("chip", ["ina226", "iio"])
def test_rail_whose_voltage_cannot_be_read_has_a_coarser_step(chip):
    kernel, sensor, file, _ = monitor_of(chip)
    voltage = file.replace("power1", "in1").replace("in_power0", "in_voltage0")
    kernel.fails[voltage] = errno.EIO
    coarse_w = (sensor.read_w(), sensor.step_w)[1]
    _, fresh, _, _ = monitor_of(chip)
    fresh.read_w()
    assert coarse_w > fresh.step_w

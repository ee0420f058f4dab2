"""Which rails a board measures, and which of them are what it draws."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from hw.errors import SensorReadError, UnsupportedError
from hw.sensors.battery import battery_sensors
from hw.sensors.energy_meter import POLLED
from hw.sensors.find import find_power
from hw.sensors.total import Total, total_of
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.energy import Battery
from tests.hw.fake.hwmon import Rail
from tests.hw.fake.kernel import FakeKernel

TOTALS = {
    "jetson-nano": ("POM_5V_IN",),
    "jetson-tx2": ("VDD_IN",),
    "jetson-xavier-nx": ("VDD_IN",),
    # Shunts of 2 mOhm, and no rail at the input.
    "jetson-agx-orin": ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    "jetson-orin-nano": ("VDD_IN",),
    "jetson-orin-nano-super": ("VDD_IN",),
    "jetson-orin-nx": ("VDD_IN",),
    "jetson-thor": ("ina238.power1",),
    "raspberry-pi-4": (),
    "raspberry-pi-5": ("PMIC_input_estimate",),
    "rk3588": ("ina226.power1",),
    "x86-intel": ("psys",),
    "x86-amd": ("package-0",),
    "x86-acpi": (),
}
PMIC = "vcgencmd pmic_read_adc"


@pytest.mark.parametrize("name", BOARDS)
def test_total_of_every_board_is_what_it_draws_and_nothing_twice(machine, name):
    power = find_power(machine(name))
    assert power.total.rails == TOTALS[name]
    assert set(power.total.rails) <= {*power.sensors, *power.counters}
    assert power.unread == []


@pytest.mark.parametrize("name", [name for name in BOARDS if TOTALS[name]])
def test_every_board_with_sensors_measures_the_power_of_its_rails(machine, open_linux, name):
    sysfs = machine(name)
    rails = {n: d for n, d in sysfs.kernel.devices.items() if isinstance(d, Rail)}
    board = open_linux(sysfs)
    for label in rails.keys() & board.power_sensors.keys():
        sensor = board.power_sensors[label]
        assert sensor.read_w() == pytest.approx(rails[label].watts, abs=sensor.step_w)
    board.begin_window()
    sysfs.kernel.sleep(10.0)
    reading = board.end_window()
    assert reading.duration_s == 10.0
    rails_w = [reading.mean_w[rail] for rail in TOTALS[name]]
    assert reading.energy_j == pytest.approx(10.0 * sum(rails_w))
    assert 0 < reading.uncertainty_j < 0.2 * reading.energy_j


@pytest.mark.parametrize(
    ("rails", "total", "statement"),
    [
        (["VDD_IN", "VDD_SOC"], ["VDD_IN"], "input of the module"),
        (["VIN", "VDD_GPU", "VIN_SYS_5V0"], ["VIN"], "carrier board"),  # jetson-stats on Thor
        (["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"], None, "sum of six"),
        (
            ["package-0", "package-0.core", "package-0.dram", "package-1", "nvidia0"],
            ["package-0", "package-0.dram", "package-1", "nvidia0"],
            "processor packages",
        ),
        (
            ["package-0-die-0", "package-0-die-0.core", "package-0-die-1", "package-1-die-0.dram"],
            ["package-0-die-0", "package-0-die-1", "package-1-die-0.dram"],
            "processor packages",
        ),
        (["nvidia0", f"nvidia0{POLLED}"], ["nvidia0"], "the one rail"),
        (["a", "b"], None, "may contain others"),
        (["battery.BAT0", "a"], ["a"], "the one rail"),
        (["battery.BAT0", "battery.BAT1"], None, "battery"),
        ([], [], "nothing"),
    ],
)
def test_total_is_chosen_by_the_names_of_the_rails(rails, total, statement):
    found = total_of(rails)
    assert list(found.rails) == (rails if total is None else total)
    assert statement in found.statement


INPUT = "sys/class/hwmon/hwmon1/curr1_input"


def test_rail_whose_bus_fails_for_a_moment_at_the_start_is_found(machine):
    sysfs = machine("jetson-orin-nano")
    kernel = sysfs.kernel
    kernel.fails[INPUT] = errno.EREMOTEIO

    def sleep(seconds):
        kernel.sleep(seconds)
        if kernel.now_s > 1000.06:
            kernel.fails.pop(INPUT, None)

    power = find_power(sysfs, clock=kernel.clock, sleep=sleep)
    assert power.total.rails == ("VDD_IN",)
    assert power.unread == []


@pytest.mark.parametrize("code", [errno.EREMOTEIO, errno.EACCES, errno.ENODEV])
def test_parts_are_never_taken_for_the_whole_that_cannot_be_read(machine, open_linux, code):
    sysfs = machine("jetson-orin-nano")
    sysfs.kernel.fails[INPUT] = code
    power = find_power(sysfs, clock=sysfs.kernel.clock, sleep=sysfs.kernel.sleep)
    assert set(power.sensors) == {"VDD_CPU_GPU_CV", "VDD_SOC"}
    assert power.total == Total((), "nothing, for VDD_IN cannot be read")
    board = open_linux(sysfs)
    with pytest.raises(UnsupportedError, match=r"no power sensor .*curr1_input"):
        board.begin_window()


# Raspberry Pi 5


def test_pmic_estimates_the_input_from_all_converters(machine):
    sysfs = machine("raspberry-pi-5")
    (sensor,) = find_power(sysfs).sensors.values()
    chip = sysfs.kernel.devices["pmic"]
    assert sensor.read_w() == pytest.approx(1.1451 * chip.sum_w() + 0.5879, abs=1e-6)
    chip.rails["VDD_CORE"][1] = 5.0
    assert sensor.read_w() == pytest.approx(1.1451 * chip.sum_w() + 0.5879, abs=1e-6)


def without_last_lines(text):
    return text[: len(text) * 2 // 3]


def without_a_converter(text):
    return "".join(line for line in text.splitlines(True) if "VDD_CORE" not in line)


def without_a_voltage(text):
    return text.replace("VDD_CORE_V", "")


def garbled(text):
    return text.replace("=", "=1.2.", 1)


@pytest.mark.parametrize(
    "change", [without_last_lines, without_a_converter, without_a_voltage, garbled]
)
def test_pmic_that_tells_less_than_before_or_no_numbers_fails_that_reading(machine, change):
    sysfs = machine("raspberry-pi-5")
    (sensor,) = find_power(sysfs).sensors.values()
    whole_w = sensor.read_w()
    show = sysfs.kernel.commands[PMIC]
    sysfs.kernel.commands[PMIC] = lambda: change(show())
    with pytest.raises(SensorReadError, match="vcgencmd pmic_read_adc"):
        sensor.read_w()
    sysfs.kernel.commands[PMIC] = show
    assert sensor.read_w() == whole_w


def test_pmic_whose_first_answer_is_cut_off_is_measured_whole_afterwards(machine):
    sysfs = machine("raspberry-pi-5")
    show, cut_off = sysfs.kernel.commands[PMIC], [1]
    sysfs.kernel.commands[PMIC] = lambda: (
        without_last_lines(show()) if cut_off and cut_off.pop() else show()
    )
    power = find_power(sysfs, sleep=sysfs.kernel.sleep)
    (sensor,) = power.sensors.values()
    chip = sysfs.kernel.devices["pmic"]
    assert sensor.read_w() == pytest.approx(1.1451 * chip.sum_w() + 0.5879, abs=1e-6)


def test_pmic_without_rights_is_told_with_the_group_to_join(machine):
    sysfs = machine("raspberry-pi-5")
    sysfs.kernel.commands[PMIC] = "Can't open device file: /dev/vcio"
    power = find_power(sysfs)
    assert power.sensors == {}
    assert "no converter; join the group video" in power.unread[0]


def test_other_boards_are_not_asked_for_a_pmic(machine):
    sysfs = machine("raspberry-pi-4")
    sysfs.kernel.commands[PMIC] = lambda: pytest.fail("asked")
    assert find_power(sysfs).unread == []


# Batteries


def battery_of(reports="power"):
    kernel = FakeKernel()
    battery = Battery(kernel, reports=reports)
    (sensor,) = battery_sensors(FakeSysfs(kernel, Path("/nowhere")))
    return battery, sensor


@pytest.mark.parametrize("reports", ["power", "current"])
@pytest.mark.parametrize("sign", [1, -1])
def test_battery_gives_power_whatever_its_driver_reports_and_the_sign(reports, sign):
    battery, sensor = battery_of(reports)
    battery.discharge_sign = sign
    battery.watts = 12.5
    assert sensor.read_w() == pytest.approx(12.5, abs=1e-4)


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging", "Unknown"])
def test_battery_gives_nothing_unless_it_is_discharged(status):
    battery, sensor = battery_of()
    battery.status = status
    assert sensor.read_w() == 0.0


def test_mains_and_usb_supplies_are_no_batteries(machine):
    assert [s.name for s in battery_sensors(machine("x86-intel"))] == ["battery.BAT0"]


def test_garbled_battery_is_an_error(machine):
    sysfs = machine("x86-intel")
    (sensor,) = battery_sensors(sysfs)
    sysfs.kernel.add({"power_now": "12.5 W"}, sysfs.kernel.real_path("sys/class/power_supply/BAT0"))
    with pytest.raises(SensorReadError, match=r"power_now holds '12\.5 W'"):
        sensor.read_w()

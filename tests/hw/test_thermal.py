"""Temperatures, what slows a machine down, and why."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from hw.base import Cause
from hw.doctor.throttle import throttle_reasons
from hw.errors import SensorReadError, UnsupportedError
from hw.left_out import Search
from hw.thermal.cooling import CoolingDevices, CoolingState
from hw.thermal.zones import all_zones, machine_title, thermal_zones
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.kernel import FakeKernel
from tests.hw.fake.thermal import CoolingDevice, ThermalZone


def zones_of(*trips, kind="cpu-thermal", temp_c=45.0, bound=((0, "cpufreq-cpu0"),)):
    """A zone whose first trip is bound to a clock, if nothing else is said."""
    kernel = FakeKernel()
    devices = [(trip, CoolingDevice(kernel, name, 3, lambda _: None)) for trip, name in bound]
    ThermalZone(kernel, kind, temp_c, trips, bound=devices)
    (zone,) = thermal_zones(FakeSysfs(kernel, Path("/nowhere"))).values()
    return kernel, zone


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_has_a_temperature_with_a_limit(machine, open_linux, name):
    sysfs = machine(name)
    board = open_linux(sysfs)
    zone = next(z for z in board.thermal_zones.values() if z.limit_c is not None)
    assert 0 < zone.read_c() < zone.limit_c <= 99
    sysfs.kernel.devices[zone.name.partition(".")[2]].temp_c = 71.5
    assert board.temperature_c() == 71.5
    assert board.temperature_limit_c == zone.limit_c


def test_limit_is_the_lowest_trip_that_slows_down_or_stops():
    trips = [("active", 50.0), ("critical", 105.0), ("passive", 95.0), ("hot", 99.0)]
    assert zones_of(*trips, bound=[(2, "cpufreq-cpu0")])[1].limit_c == 95.0
    assert zones_of(*trips, bound=[(0, "pwm-fan")])[1].limit_c == 99.0
    assert zones_of(("active", 50.0))[1].limit_c is None


SLOWING = ["cpufreq-cpu0", "thermal-cpufreq-0", "devfreq-17000000.gpu", "Processor", "cpu-balanced"]
HARMLESS = ["hot-surface-alert", "cpu-throttle-alert", "pwm-fan", "gpio-fan", "Fan", "TCC Offset"]


@pytest.mark.parametrize("kind", [*SLOWING, "of-a-driver-nobody-knows"])
def test_passive_trip_counts_where_a_device_that_slows_a_clock_is_bound(kind):
    trips = [("passive", 70.0), ("critical", 105.0)]
    assert zones_of(*trips, bound=[(0, "hot-surface-alert"), (0, kind)])[1].limit_c == 70.0


@pytest.mark.parametrize("bound", [[], [(-1, "cpufreq-cpu0")], *([(0, kind)] for kind in HARMLESS)])
def test_passive_trip_that_slows_nothing_does_not_count(bound):
    trips = [("passive", 70.0), ("critical", 105.0)]
    assert zones_of(*trips, bound=bound)[1].limit_c == 105.0


@pytest.mark.parametrize("fault", [errno.EINVAL, errno.ENODEV, errno.EIO, "garbage"])
def test_trip_or_binding_that_cannot_be_read_is_left_out_and_named(fault):
    trips = [("passive", 70.0), ("passive", 95.0), ("critical", 105.0)]
    kernel, _ = zones_of(*trips, bound=[(0, "cpufreq-cpu0"), (1, "devfreq-gpu")])
    table = kernel.fails if isinstance(fault, int) else kernel.answers
    for file, limit_c in (
        ("trip_point_0_temp", 95.0),
        ("cdev0_trip_point", 95.0),
        ("cdev0/type", 70.0),  # nobody knows what is bound there, so that it may slow a clock
    ):
        table.clear()
        table[f"sys/class/thermal/thermal_zone0/{file}"] = fault
        unread = []
        (zone,) = all_zones(
            FakeSysfs(kernel, Path("/nowhere")), Search(unread, sleep=kernel.sleep)
        ).values()
        assert zone.limit_c == limit_c
        assert any(file in text for text in unread) or file == "cdev0/type"


ORINS = ["jetson-orin-nano", "jetson-orin-nano-super", "jetson-orin-nx", "jetson-agx-orin"]


@pytest.mark.parametrize("name", ORINS)
def test_orin_is_driven_at_full_speed_between_its_alert_and_its_throttling_point(
    machine, open_linux, name
):
    """At 70 C only `hot-surface-alert` is bound; clocks fall at 99 C (JetPack 5 and 6)."""
    sysfs = machine(name)
    zone = sysfs.kernel.devices["CPU-therm" if sysfs.kernel.is_old else "cpu-thermal"]
    board = open_linux(sysfs)
    assert board.temperature_limit_c == 99.0
    highest = {name: domain.available_hz[-1] for name, domain in board.domains.items()}
    free = board.apply(highest)
    for temp_c in (68.0, 72.0, 90.0):
        zone.heat_to(temp_c)
        assert board.apply(highest) == free
        assert Cause.GUARD not in {applied.cause for applied in board.applied.values()}
        assert throttle_reasons(sysfs) == []
    lowest = {name: domain.available_hz[0] for name, domain in board.domains.items()}
    board.apply(lowest)
    zone.temp_c = 95.0
    assert board.guard.limit(board, highest) == lowest


@pytest.mark.parametrize("trip_c", [-274.0, 0.0, 20.0, 500.0])
def test_trips_that_are_switched_off_do_not_count(trip_c):
    assert zones_of(("passive", trip_c), ("critical", 110.0))[1].limit_c == 110.0


def test_pi_slows_down_by_its_firmware_below_the_kernels_trip():
    kernel = FakeKernel()
    kernel.add({"proc/device-tree/model": "Raspberry Pi 4 Model B"})
    ThermalZone(kernel, "cpu-thermal", 50.0, [("critical", 110.0)])
    (zone,) = thermal_zones(FakeSysfs(kernel, Path("/nowhere"))).values()
    assert zone.limit_c == 80.0


def test_zone_that_shows_a_constant_has_no_limit_and_hides_no_heat(machine, open_linux):
    """PMIC-Die of older Jetsons shows 100 C, nearer to its trip than a chip of 45 C is to its."""
    sysfs = machine("jetson-nano")
    board = open_linux(sysfs)
    zone = next(z for name, z in board.thermal_zones.items() if "PMIC-Die" in name)
    assert (zone.read_c(), zone.limit_c) == (100.0, None)
    assert (board.temperature_c(), board.temperature_limit_c) == (45.0, 91.0)


def test_zone_whose_device_sleeps_is_left_out(machine):
    names = [name.lower() for name in thermal_zones(machine("jetson-orin-nano"))]
    assert len(names) == 2
    assert not any("cv0" in name for name in names)


@pytest.fixture
def nano(machine, open_linux):
    """A board with a zone for the CPU, at 45 C, and one for the GPU, at 60 C."""
    sysfs = machine("jetson-nano")
    zones = {d.name: d for d in sysfs.kernel.devices.values() if isinstance(d, ThermalZone)}
    zones["GPU-therm"].temp_c = 60.0
    board = open_linux(sysfs)
    assert board.temperature_c() == 60.0
    return board, sysfs.kernel, {name: f"{zone.folder}/temp" for name, zone in zones.items()}


@pytest.mark.parametrize("fault", [errno.EAGAIN, errno.EIO, "", "n/a", "-256000", "-274000"])
def test_zone_that_falls_asleep_is_left_out_and_told_once_and_so_is_its_waking(nano, caplog, fault):
    board, kernel, files = nano
    table = kernel.fails if isinstance(fault, int) else kernel.answers
    table[files["GPU-therm"]] = fault
    assert [board.temperature_c() for _ in range(3)] == [45.0] * 3
    assert board.temperature_limit_c == 91.0
    table.clear()
    assert [board.temperature_c() for _ in range(3)] == [60.0] * 3
    told = [r.message for r in caplog.records if "thermal zone" in r.message]
    assert len(told) == 2
    assert re.match(r"thermal zone \S+GPU-therm failed: .*temp.*; it is left out", told[0])
    assert re.match(r"thermal zone \S+GPU-therm works again after 4 failures", told[1])


def test_zone_that_sleeps_every_other_step_is_told_once_a_minute(nano, caplog):
    board, kernel, files = nano
    for step in range(480):  # two minutes
        if step % 2:
            kernel.fails[files["GPU-therm"]] = errno.EAGAIN
        else:
            kernel.fails.clear()
        board.temperature_c()
        kernel.sleep(0.25)
    told = [r.message for r in caplog.records if "GPU-therm failed" in r.message]
    assert len(told) == 2
    assert re.search(r"\(\d+ more since the last report\)", told[1])


def test_margin_is_of_one_zone_though_another_is_nearest_at_the_next_look(machine, open_linux):
    sysfs = machine("jetson-nano")
    kernel = sysfs.kernel
    zones = {name: kernel.devices[name] for name in ("CPU-therm", "GPU-therm")}
    trip = f"{zones['GPU-therm'].folder}/trip_point_0_temp"
    kernel.answers[trip] = "60000"
    board = open_linux(sysfs)
    limits_c = {z.name.partition(".")[2]: z.limit_c for z in board.thermal_zones.values()}
    assert limits_c["CPU-therm"] - limits_c["GPU-therm"] > 20.0
    for name, zone in zones.items():
        zone.temp_c = limits_c[name] - 12.0
    order, read, file = [0], kernel.access, f"{zones['CPU-therm'].folder}/temp"

    def access(operation, path, value=""):
        """The zones are nearest to their limits by turns."""
        if operation == "read" and kernel.real_path(path) == file:
            order[0] += 1
            zones["CPU-therm"].temp_c = limits_c["CPU-therm"] - 12.0 - (-1) ** order[0]
        return read(operation, path, value)

    kernel.access = access
    known_c = {board.guard._left_c(board) for _ in range(10)}
    assert known_c == {11.0, 12.0}


def test_zone_that_never_moves_is_told_once(nano, caplog):
    board, kernel, _ = nano
    zone = kernel.devices["CPU-therm"]
    for step in range(5):
        kernel.devices["GPU-therm"].temp_c = 60.0 + step
        board.temperature_c()
        kernel.sleep(200.0)
    (told,) = [r.message for r in caplog.records if "has shown exactly" in r.message]
    assert "CPU-therm has shown exactly 45.000 C for 10 minutes" in told
    zone.temp_c = 45.5
    board.temperature_c()
    assert "CPU-therm moves again: 45.500 C" in caplog.records[-1].message


def test_silence_of_all_zones_is_an_error_that_names_them(nano):
    board, kernel, files = nano
    for name in ("CPU-therm", "GPU-therm"):
        kernel.fails[files[name]] = errno.EIO
    for ask in (board.temperature_c, lambda: board.temperature_limit_c):
        with pytest.raises(SensorReadError, match=r"no thermal zone .*CPU-therm: .*GPU-therm: "):
            ask()


def test_zone_that_slept_at_the_start_counts_once_it_wakes(machine, open_linux):
    sysfs = machine("jetson-orin-nano")
    board = open_linux(sysfs)
    kernel = sysfs.kernel
    zone = next(d for name, d in kernel.devices.items() if name.lower().startswith("cv0"))
    assert board.temperature_c() == 45.0
    kernel.fails.clear()
    zone.temp_c = 80.0
    assert board.temperature_c() == 80.0


def test_temperatures_below_zero_are_temperatures():
    kernel, zone = zones_of(("passive", 95.0))
    kernel.devices["cpu-thermal"].temp_c = -12.5
    assert zone.read_c() == -12.5


def test_board_without_zones_says_so(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    sysfs.kernel.remove("sys/class/thermal")
    board = open_linux(sysfs)
    with pytest.raises(UnsupportedError, match=r"no thermal zone under .*leave temperature out"):
        board.temperature_c()


@pytest.mark.parametrize(
    ("files", "title"),
    [
        ({"proc/device-tree/model": "quill"}, "quill"),
        (
            {"sys/class/dmi/id/product_name": "SER7", "sys/class/dmi/id/sys_vendor": "AZW"},
            "AZW SER7",
        ),
        ({}, "unknown machine"),
    ],
)
def test_machine_is_called_what_its_firmware_says(files, title):
    kernel = FakeKernel()
    kernel.add(files)
    assert machine_title(FakeSysfs(kernel, Path("/nowhere"))) == title


# What slows it down


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        ("cpufreq-cpu0", {"cpu0"}),
        ("thermal-cpufreq-0", {"cpu0"}),
        ("Processor", {"cpu0"}),
        ("intel_powerclamp", {"cpu0"}),
        ("thermal-devfreq-0", {"gpu", "npu", "emc"}),  # of which, a number does not tell
        ("devfreq-17000000.gpu", {"gpu"}),
        ("devfreq-fdab0000.npu", {"npu"}),
        ("devfreq-dmc", {"emc"}),
        ("cpu-balanced", {"cpu0", "gpu", "npu", "emc"}),
        ("hot-surface-alert", set()),
        ("pwm-fan", set()),
    ],
)
def test_active_device_holds_the_clocks_that_it_may_slow_down(kind, held):
    kernel = FakeKernel()
    CoolingDevice(kernel, kind, 3, lambda _: None).cool(2)
    devices = CoolingDevices(FakeSysfs(kernel, Path("/nowhere")))
    assert devices.states() == [CoolingState(f"cooling_device0.{kind}", 2, 3)]
    assert {name for name in ("cpu0", "gpu", "npu", "emc") if devices.holds(name)} == held


def test_device_without_a_state_is_left_out(machine):
    sysfs = machine("raspberry-pi-4")
    sysfs.kernel.fails["sys/class/thermal/cooling_device0/cur_state"] = errno.EINVAL
    assert CoolingDevices(sysfs).states() == []


@pytest.mark.parametrize("name", BOARDS)
def test_machine_at_rest_is_slowed_down_by_nothing(machine, name):
    assert throttle_reasons(machine(name)) == []


@pytest.mark.parametrize("kind", HARMLESS)
def test_fan_that_turns_and_a_warning_slow_nothing_down(machine, kind):
    sysfs = machine("raspberry-pi-5")
    CoolingDevice(sysfs.kernel, kind, 63, lambda _: None).cool(3)
    assert throttle_reasons(sysfs) == []


def test_alarms_of_over_current_are_told_with_their_count(machine):
    sysfs = machine("jetson-orin-nano")
    (chip,) = [
        path.rpartition("/")[0]
        for path in sysfs.kernel.glob("sys/class/hwmon/hwmon*/name")
        if sysfs.kernel.read(path) == "soctherm_oc\n"
    ]
    sysfs.kernel.set(f"{chip}/oc3_event_cnt", 4711)
    (reason,) = throttle_reasons(sysfs)
    assert reason == "momentary current too high 4711 times since boot (oc3 of soctherm_oc)"


def test_offline_processor_without_a_count_is_left_out_and_named(machine):
    sysfs = machine("x86-intel")
    counts = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
    sysfs.kernel.set(counts.format(1), 7)
    sysfs.kernel.fails[counts.format(3)] = errno.ENODEV
    unread = []
    assert throttle_reasons(sysfs, unread=unread) == [
        "processor cores were slowed down for heat 7 times since boot"
    ]
    assert "cpu3" in unread[0]


def test_heat_is_told_by_device_and_strength(machine):
    sysfs = machine("rk3588")
    sysfs.kernel.devices["soc-thermal"].heat_to(86.5)
    reasons = throttle_reasons(sysfs)
    assert len(reasons) == 5
    assert all(" at 2 of " in reason for reason in reasons)


def test_counts_of_x86_cores_are_added(machine):
    sysfs = machine("x86-intel")
    for cpu, count in ((0, 3), (5, 4)):
        path = f"sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count"
        sysfs.kernel.set(path, count)
    assert throttle_reasons(sysfs) == [
        "processor cores were slowed down for heat 7 times since boot"
    ]


@pytest.mark.parametrize(
    ("output", "reasons"),
    [
        ("throttled=0x50005", ["voltage is too low", "slowed down", "was too low", "was slowed"]),
        ("throttled=0x20000", ["clock was capped"]),
        ("throttled=0x80008", ["soft temperature limit", "limit was reached"]),
        ("garbage", []),
    ],
)
def test_firmware_of_a_pi_is_asked(machine, output, reasons):
    sysfs = machine("raspberry-pi-5")
    sysfs.kernel.commands["vcgencmd get_throttled"] = output
    found = throttle_reasons(sysfs)
    assert len(found) == len(reasons)
    for text, reason in zip(found, reasons, strict=True):
        assert text.startswith("firmware: ")
        assert reason in text

"""What is found at the start or comes later: thermal caps, boost, clusters of processors."""

from __future__ import annotations

import errno

import pytest

from hw.base import Applied, Cause, Hold
from hw.boards.device_view import DeviceView
from hw.boards.linux import LinuxBoard
from hw.device.model import DeviceModel
from hw.session.journal import Journal
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS, build_rk3588, build_x86_acpi_boost

CPU = "sys/devices/system/cpu"


def switch(kernel, cpus, online: bool) -> None:
    """Take processors offline or online, past the log of writes."""
    for cpu in cpus:
        kernel.attribute(f"{CPU}/cpu{cpu}/online").write(str(int(online)))


# Thermal caps


def cooler_of(kernel, index: int):
    return kernel.devices[f"cooling_device{index}"]


@pytest.mark.parametrize("is_vendors", [False, True])
@pytest.mark.parametrize("name", ["gpu", "npu", "emc"])
def test_thermal_cap_found_at_the_start_is_not_made_permanent(
    tmp_path, open_linux, is_vendors, name
):
    """Vendors' kernels number their cooling devices, which tells nothing of what they cool."""
    kernel = build_rk3588("new", is_vendors=is_vendors)
    before, requests = kernel.snapshot(), kernel.requests()
    coolers = [d for n, d in kernel.devices.items() if n.startswith("cooling_device")]
    for cooler in coolers:
        cooler.cool(min(3, cooler.last_state))
    board = open_linux(FakeSysfs(kernel, tmp_path), Hold.CAP, domains=[name])
    board.apply({name: board.domains[name].available_hz[0]})
    board.close()
    for cooler in coolers:
        cooler.cool(0)
    assert kernel.snapshot() == before
    assert kernel.requests() == requests


def test_limit_below_a_thermal_cap_was_chosen_by_somebody_and_stays(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    kernel = sysfs.kernel
    limit = "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
    kernel.attribute(limit).write("900000")
    cooler_of(kernel, 0).cool(4)  # 1.4 GHz
    board = open_linux(sysfs, Hold.CAP)
    assert board.apply({"cpu": 1_800_000_000}) == {"cpu": 900_000_000}
    board.close()
    cooler_of(kernel, 0).cool(0)
    assert kernel.read(limit).strip() == "900000"


def test_fan_that_turns_caps_no_clock(machine, open_linux):
    sysfs = machine("raspberry-pi-5")
    kernel = sysfs.kernel
    limit = "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
    kernel.attribute(limit).write("1800000")
    kernel.set("sys/class/thermal/cooling_device0/type", "pwm-fan")
    cooler_of(kernel, 0).state = 2
    board = open_linux(sysfs, Hold.CAP)
    assert board.apply({"cpu": 2_400_000_000}) == {"cpu": 1_800_000_000}
    board.close()
    assert kernel.read(limit).strip() == "1800000"


@pytest.mark.parametrize("is_told", [True, False])
def test_capped_gpu_is_not_driven_beyond_its_power_mode(tmp_path, open_linux, is_told):
    """The configuration names its file for the next kernel only, by another path."""
    kernel = BOARDS["jetson-orin-nano-super"]("new")  # 25 W: GPU up to 918 MHz of 1020
    for cooler in (d for n, d in kernel.devices.items() if n.startswith("cooling_device")):
        cooler.cool(min(5, cooler.last_state))
    if not is_told:
        kernel.devices["nvpmodel"].lose_status(is_empty=True)
    board = open_linux(FakeSysfs(kernel, tmp_path), Hold.CAP, domains=["gpu"])
    board.apply({"gpu": 1_020_000_000})
    assert kernel.requests()["gpu"][1] == 918_000_000
    board.close()
    assert kernel.requests()["gpu"][1] == 918_000_000


# Boost


@pytest.mark.parametrize("hold", [Hold.CAP, Hold.PIN])
def test_asking_for_the_highest_point_leaves_boost_on(tmp_path, generation, open_linux, hold):
    sysfs = FakeSysfs(build_x86_acpi_boost(generation), tmp_path)
    whole = sysfs.kernel.snapshot()
    policy = sysfs.kernel.devices["policy0"]
    before = policy.limits_khz()[1]
    board = open_linux(sysfs, hold, domains=["cpu0"])
    assert board.apply({"cpu0": 1_800_000_000}) == {"cpu0": 1_800_000_000}
    assert board.applied["cpu0"].cause is None
    assert policy.limits_khz()[1] == before  # up to 4.3 GHz where the kernel shows it
    assert board.apply({"cpu0": 1_400_000_000}) == {"cpu0": 1_400_000_000}
    assert policy.limits_khz()[1] == 1_400_000
    board.apply({"cpu0": 1_800_000_000})
    assert policy.limits_khz()[1] == before
    board.verify()
    assert board.applied["cpu0"] == Applied(1_800_000_000, 1_800_000_000)
    board.close()
    assert sysfs.kernel.snapshot() == whole


def test_boost_that_a_person_limited_is_not_raised(tmp_path, open_linux):
    kernel = build_x86_acpi_boost("old")
    kernel.attribute(f"{CPU}/cpufreq/policy0/scaling_max_freq").write("3000000")
    board = open_linux(FakeSysfs(kernel, tmp_path), Hold.CAP, domains=["cpu0"])
    board.apply({"cpu0": 1_800_000_000})
    assert kernel.devices["policy0"].limits_khz()[1] == 3_000_000


def test_thermal_cap_within_boost_is_not_made_permanent(tmp_path, open_linux):
    kernel = build_x86_acpi_boost("old")
    before = kernel.snapshot()
    cooler_of(kernel, 0).cool(1)  # four fifths of 4.3 GHz
    board = open_linux(FakeSysfs(kernel, tmp_path), Hold.CAP, domains=["cpu0"])
    board.apply({"cpu0": 1_400_000_000})
    board.close()
    cooler_of(kernel, 0).cool(0)
    assert kernel.snapshot() == before


# Clusters that come and go


@pytest.fixture
def in_7_watts(machine):
    """An Orin Nano whose power mode has taken its second cluster offline."""
    sysfs = machine("jetson-orin-nano")
    sysfs.kernel.devices["nvpmodel"].switch_power_mode(1)
    return sysfs


def test_board_with_an_offline_cluster_can_be_opened_and_driven(in_7_watts, open_linux):
    board = open_linux(in_7_watts, Hold.CAP)
    assert sorted(board.domains) == ["cpu", "emc", "gpu"]
    assert board.apply({"cpu": 500_000_000})["cpu"] == 499_200_000
    assert board.applied["cpu"].cause is None


@pytest.mark.parametrize("hold", [Hold.CAP, Hold.PIN])
def test_cluster_that_comes_online_is_driven_from_then_on(in_7_watts, hold):
    kernel = in_7_watts.kernel
    late = kernel.devices["policy4"]
    machine = LinuxBoard(in_7_watts, hold=hold, clock=kernel.clock, sleep=kernel.sleep)
    device = DeviceModel.load("orin-nano")
    lowest_hz = device.domains["cpu"].available_hz[0]
    with DeviceView(machine, device) as board:
        board.apply({"cpu": lowest_hz})
        switch(kernel, (4, 5), True)
        came = late.limits_khz()
        assert came[1] > lowest_hz // 1000
        written = len(kernel.writes)
        assert board.apply({"cpu": lowest_hz}) == {"cpu": lowest_hz}
        assert board.applied["cpu"].cause is None
        assert late.limits_khz()[1] == lowest_hz // 1000
        assert any("policy4" in path for path, _ in kernel.writes[written:])
        assert "policy4" in Journal.of_machine(in_7_watts).path.read_text()
        assert "cpu4" in machine.domains
    assert late.limits_khz() == came


def test_late_cluster_is_saved_before_it_is_written(in_7_watts, open_linux):
    kernel = in_7_watts.kernel
    board = open_linux(in_7_watts, Hold.CAP)
    board.apply({"cpu": 500_000_000})
    switch(kernel, (4, 5), True)
    journal = Journal.of_machine(in_7_watts)

    def check(operation, path):
        if operation == "write" and "policy4" in path:
            assert "policy4" in journal.path.read_text()

    kernel.before_access = check
    board.look_again()
    board.apply({"cpu4": 500_000_000})
    assert kernel.devices["policy4"].limits_khz()[1] == 499_200


def test_late_cluster_that_may_not_be_written_is_told_and_left_alone(
    in_7_watts, open_linux, caplog
):
    kernel = in_7_watts.kernel
    board = open_linux(in_7_watts, Hold.CAP)
    kernel.fails_writes[f"{CPU}/cpufreq/policy4/scaling_max_freq"] = errno.EACCES
    switch(kernel, (4, 5), True)
    board.apply({"cpu": 500_000_000})
    assert "cpu4 came online and is not driven: this user may not write" in caplog.text
    assert "cpu4" not in board.domains


def test_core_of_a_pc_that_comes_online_joins_the_others(machine, open_linux):
    sysfs = machine("x86-amd")
    kernel = sysfs.kernel
    switch(kernel, (7,), False)
    board = open_linux(sysfs, Hold.CAP)
    low_hz = board.domains["cpu"].available_hz[1]
    board.apply({"cpu": low_hz})
    switch(kernel, (7,), True)
    assert board.apply({"cpu": low_hz}) == {"cpu": low_hz}
    assert kernel.devices["policy7"].limits_khz()[1] == low_hz // 1000


@pytest.mark.parametrize("forgets", [False, True])
def test_cluster_that_goes_offline_and_comes_back_is_no_failure(machine, open_linux, forgets):
    sysfs = machine("jetson-agx-orin")
    kernel = sysfs.kernel
    before = kernel.snapshot()
    kernel.devices["policy8"].forgets_offline = forgets
    board = open_linux(sysfs, Hold.CAP)
    board.apply({"cpu0": 500_000_000, "cpu8": 500_000_000})
    switch(kernel, range(8, 12), False)
    board.verify()
    assert board.applied["cpu8"].cause is Cause.OFFLINE
    board.apply({"cpu0": 700_000_000, "cpu8": 700_000_000})
    assert board.applied["cpu8"].cause is Cause.OFFLINE
    assert board.domains["cpu8"].read_hz() == 0
    switch(kernel, range(8, 12), True)
    point = board.apply({"cpu0": 700_000_000, "cpu8": 700_000_000})
    assert point["cpu8"] == point["cpu0"]
    assert board.applied["cpu8"].cause is None
    board.close()
    assert kernel.snapshot() == before


def test_cluster_that_goes_offline_in_the_middle_of_a_step_is_no_failure(machine, open_linux):
    sysfs = machine("jetson-agx-orin")
    kernel = sysfs.kernel
    board = open_linux(sysfs, Hold.CAP)
    board.apply({"cpu8": 500_000_000})

    def unplug(operation, path):
        if operation == "write" and "policy8" in path:
            kernel.before_access = None
            switch(kernel, range(8, 12), False)

    kernel.before_access = unplug
    board.apply({"cpu8": 900_000_000})
    assert board.applied["cpu8"].cause is Cause.OFFLINE


def test_device_waits_for_no_cluster_that_is_offline(machine):
    sysfs = machine("jetson-orin-nano")
    kernel = sysfs.kernel
    machine_ = LinuxBoard(sysfs, hold=Hold.CAP, clock=kernel.clock, sleep=kernel.sleep)
    device = DeviceModel.load("orin-nano")
    with DeviceView(machine_, device) as board:
        top_hz = device.domains["cpu"].available_hz[-1]
        board.apply({"cpu": top_hz})
        switch(kernel, (4, 5), False)
        assert board.apply({"cpu": top_hz}) == {"cpu": top_hz}
        assert board.domains["cpu"].read_hz() > 0
        switch(kernel, (4, 5), True)

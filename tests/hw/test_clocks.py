"""Clock domains on fake kernels of every board."""

from __future__ import annotations

import errno
import itertools

import pytest

from hw.base import Applied, Cause, Hold
from hw.clocks.emc import CAPS
from hw.errors import (
    BoardNotFoundError,
    FrequencyRejectedError,
    PermissionDeniedError,
    UnsupportedError,
)
from hw.settings.settings import LimitPair, Limits
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.kernel import FakeKernel

SETTLED_S = 1.0
DOMAINS = {
    "jetson-nano": ["cpu", "gpu", "emc"],
    "jetson-tx2": ["cpu0", "cpu1", "gpu", "emc"],
    "jetson-xavier-nx": ["cpu0", "cpu2", "cpu4", "gpu", "emc"],
    "jetson-agx-orin": ["cpu0", "cpu4", "cpu8", "gpu", "emc"],
    "jetson-orin-nano": ["cpu0", "cpu4", "gpu", "emc"],
    "jetson-orin-nano-super": ["cpu0", "cpu4", "gpu", "emc"],
    "jetson-orin-nx": ["cpu0", "cpu4", "gpu", "emc"],
    "jetson-thor": [*(f"cpu{n}" for n in range(0, 14, 2)), "emc", "gpu-gpc-0", "gpu-nvd-0"],
    "raspberry-pi-4": ["cpu"],
    "raspberry-pi-5": ["cpu"],
    "rk3588": ["cpu0", "cpu4", "cpu6", "emc", "gpu", "npu"],
    "x86-intel": ["cpu"],
    "x86-amd": ["cpu"],
    "x86-acpi": ["cpu0", "cpu1", "cpu2", "cpu3"],
}
CPU0_MAX = "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"


def every_point(board):
    """Operating points that move every clock up and down."""
    for i in (0, -1, 1, -2, 0):
        yield {n: d.available_hz[i] for n, d in board.domains.items() if len(d.available_hz) > 1}


@pytest.mark.parametrize("name", BOARDS)
def test_every_clock_of_every_board_is_found(machine, open_linux, name):
    board = open_linux(machine(name))
    assert sorted(board.domains) == sorted(DOMAINS[name])
    for domain in board.domains.values():
        assert list(domain.available_hz) == sorted(set(domain.available_hz))
        assert 50e6 < domain.available_hz[0] < domain.available_hz[-1] < 6e9


@pytest.mark.parametrize("hold", [Hold.CAP, Hold.PIN])
@pytest.mark.parametrize("name", BOARDS)
def test_every_clock_follows_within_the_limits_found_and_is_given_back(
    machine, open_linux, name, hold
):
    sysfs = machine(name)
    before = sysfs.kernel.snapshot()
    board = open_linux(sysfs, hold)
    for point in every_point(board):
        applied = board.apply(point)
        sysfs.kernel.sleep(SETTLED_S)
        assert board.verify() == applied
        for domain, result in board.applied.items():
            if result.cause is None:
                assert applied[domain] == point[domain]
            else:  # the power mode's limit is lower than the table's end
                assert result.cause is Cause.POWER_MODE
                assert applied[domain] < point[domain]
    board.close()
    assert sysfs.kernel.snapshot() == before


def test_pinning_moves_the_clock_itself_and_capping_leaves_it_to_the_governor(machine, open_linux):
    sysfs = machine("rk3588")
    board = open_linux(sysfs, Hold.PIN)
    board.apply({"gpu": 600_000_000})
    assert board.domains["gpu"].read_hz() == 600_000_000
    board.close()
    board = open_linux(sysfs, Hold.CAP)
    board.apply({"gpu": 600_000_000})
    assert board.domains["gpu"].read_hz() == 300_000_000  # idle
    sysfs.kernel.devices["fb000000.gpu"].load = 1.0
    assert board.domains["gpu"].read_hz() == 600_000_000


def test_capping_never_raises_the_lower_limit(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    board = open_linux(sysfs, Hold.CAP)
    for hz in (600_000_000, 1_800_000_000, 1_000_000_000):
        board.apply({"cpu": hz})
        assert board.domains["cpu"].read_limits_hz() == (600_000_000, hz)


def test_userspace_governor_takes_the_clock_and_gives_the_governor_back(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    policy = sysfs.kernel.devices["policy0"]
    board = open_linux(sysfs, Hold.USERSPACE)
    for hz in board.domains["cpu"].available_hz:
        assert board.apply({"cpu": hz}) == {"cpu": hz}
        assert policy.governor == "userspace"
        assert policy.cur_khz() * 1000 == hz
    board.close()
    assert policy.governor == "ondemand"


def test_userspace_needs_the_governor(machine, open_linux):
    with pytest.raises(UnsupportedError, match=r"available_governors does not offer 'userspace'"):
        open_linux(machine("jetson-orin-nano"), Hold.USERSPACE)


def test_raising_writes_the_maximum_first_and_lowering_the_minimum(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    board = open_linux(sysfs)
    board.apply({"cpu": 600_000_000})
    sysfs.kernel.writes.clear()
    board.apply({"cpu": 1_500_000_000})
    board.apply({"cpu": 800_000_000})
    files = [path.rpartition("/")[2] for path, _ in sysfs.kernel.writes]
    expected = ["scaling_max_freq", "scaling_min_freq", "scaling_min_freq", "scaling_max_freq"]
    assert files == expected


def test_what_is_in_force_already_is_not_written_again(machine, open_linux):
    sysfs = machine("jetson-orin-nano")
    board = open_linux(sysfs)
    point = {name: domain.available_hz[1] for name, domain in board.domains.items()}
    board.apply(point)
    sysfs.kernel.writes.clear()
    for _ in range(3):
        board.apply(point)
    assert sysfs.kernel.writes == []


@pytest.mark.parametrize(
    ("wanted_hz", "pinned_hz"), [(1, 600_000_000), (8.6e8, 900_000_000), (9e9, 1_800_000_000)]
)
def test_requests_off_the_table_snap_to_the_nearest_point(
    machine, open_linux, wanted_hz, pinned_hz
):
    board = open_linux(machine("raspberry-pi-4"))
    assert board.apply({"cpu": int(wanted_hz)}) == {"cpu": pinned_hz}


def test_cores_of_a_pc_are_one_clock_that_reads_as_its_slowest(machine, open_linux):
    sysfs = machine("x86-amd")
    board = open_linux(sysfs, Hold.CAP)
    hz = board.domains["cpu"].available_hz[3]
    board.apply({"cpu": hz})
    policies = [sysfs.kernel.devices[f"policy{n}"] for n in range(8)]
    assert {policy.limits_khz()[1] for policy in policies} == {hz // 1000}


# Who won


def test_thermal_cap_is_named_and_lets_go(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    board = open_linux(sysfs)
    board.apply({"cpu": 1_800_000_000})
    sysfs.kernel.devices["cooling_device0"].cool(4)
    board.verify()
    assert board.applied["cpu"] == Applied(1_800_000_000, 1_400_000_000, Cause.THERMAL)
    assert board.apply({"cpu": 1_800_000_000}) == {"cpu": 1_400_000_000}
    assert board.applied["cpu"].cause is Cause.THERMAL
    sysfs.kernel.devices["cooling_device0"].cool(2)
    assert board.apply({"cpu": 1_800_000_000}) == {"cpu": 1_600_000_000}
    sysfs.kernel.devices["cooling_device0"].cool(0)
    assert board.apply({"cpu": 1_800_000_000}) == {"cpu": 1_800_000_000}
    assert board.applied["cpu"].cause is None


@pytest.mark.parametrize("low_hz", [700_000_000, 1_200_000_000])
def test_requests_below_and_around_a_thermal_cap_are_taken(machine, open_linux, low_hz):
    """The old kernel hides what was asked for behind the cap and refuses the usual order."""
    sysfs = machine("raspberry-pi-4")
    board = open_linux(sysfs)
    board.apply({"cpu": 1_700_000_000})
    sysfs.kernel.devices["cooling_device0"].cool(8)  # 1.0 GHz
    applied = board.apply({"cpu": low_hz})["cpu"]
    assert applied == min(low_hz, 1_000_000_000)
    sysfs.kernel.devices["cooling_device0"].cool(0)
    board.verify()
    assert board.applied["cpu"] == Applied(low_hz, low_hz)


def test_limit_saved_under_a_thermal_cap_is_not_made_permanent(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    before = sysfs.kernel.snapshot()
    cooling = sysfs.kernel.devices["cooling_device0"]
    cooling.cool(6)
    board = open_linux(sysfs)
    board.apply({"cpu": 800_000_000})
    board.close()
    cooling.cool(0)
    assert sysfs.kernel.snapshot() == before


def test_limit_of_the_power_mode_returns_after_a_thermal_cap(machine, open_linux):
    sysfs = machine("jetson-orin-nano-super")  # 25 W: CPU up to 1344 MHz of 1728
    before = sysfs.kernel.snapshot()
    coolers = [d for n, d in sysfs.kernel.devices.items() if n.startswith("cooling_device")]
    for cooler in coolers:
        cooler.cool(min(12, cooler.last_state))
    board = open_linux(sysfs, domains=["cpu0"])
    board.apply({"cpu0": 500_000_000})
    board.close()
    for cooler in coolers:
        cooler.cool(0)
    assert sysfs.kernel.snapshot() == before


def test_firmware_limit_is_named(machine, open_linux):
    sysfs = machine("x86-acpi")
    board = open_linux(sysfs)
    policy = sysfs.kernel.devices["policy0"]
    board.apply({"cpu0": 2_400_000_000})
    firmware_khz = policy.caps_khz["bios"] = policy.table_khz[2]
    board.verify()
    assert board.applied["cpu0"] == Applied(2_400_000_000, firmware_khz * 1000, Cause.FIRMWARE)
    assert board.apply({"cpu0": 2_400_000_000}) == {"cpu0": firmware_khz * 1000}
    del policy.caps_khz["bios"]
    assert board.apply({"cpu0": 2_400_000_000}) == {"cpu0": 2_400_000_000}


def test_silent_refusal_of_a_gpu_is_found_once_it_had_time(machine, open_linux):
    sysfs = machine("rk3588")
    gpu = sysfs.kernel.devices["fb000000.gpu"]
    board = open_linux(sysfs)
    board.apply({"gpu": 300_000_000})
    gpu.firmware_ignores = True
    assert board.apply({"gpu": 900_000_000}) == {"gpu": 900_000_000}
    sysfs.kernel.sleep(SETTLED_S)
    assert board.verify() == {"gpu": 300_000_000}
    assert board.applied["gpu"].cause is Cause.FIRMWARE


def test_clock_that_takes_its_time_is_no_refusal(machine, open_linux):
    sysfs = machine("rk3588")
    sysfs.kernel.devices["fb000000.gpu"].lag_s = 0.02
    board = open_linux(sysfs)
    board.apply({"gpu": 900_000_000})
    board.verify()
    assert board.applied["gpu"].cause is None
    sysfs.kernel.sleep(SETTLED_S)
    assert board.verify() == {"gpu": 900_000_000}


def test_memory_firmware_that_drops_a_request_is_named(machine, open_linux):
    sysfs = machine("jetson-orin-nx")
    board = open_linux(sysfs)
    board.apply({"emc": 665_600_000})
    sysfs.kernel.devices["emc"].ignores_writes = True
    assert board.apply({"emc": 2_133_000_000}) == {"emc": 665_600_000}
    assert board.applied["emc"].cause is Cause.FIRMWARE
    sysfs.kernel.devices["emc"].ignores_writes = False


def test_memory_clock_is_locked_against_the_bandwidth_manager(machine, open_linux):
    sysfs = machine("jetson-tx2")
    board = open_linux(sysfs)
    board.apply({"emc": 800_000_000})
    sysfs.kernel.sleep(SETTLED_S)
    assert board.verify() == {"emc": 800_000_000}


def test_another_program_wins_for_a_while_that_doubles(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    board = open_linux(sysfs)
    board.apply({"cpu": 1_500_000_000})
    rival = sysfs.kernel.attribute(CPU0_MAX)
    for wait_s in (10.0, 20.0, 40.0):
        sysfs.kernel.attribute(CPU0_MAX.replace("max", "min")).write("600000")
        rival.write("900000")
        sysfs.kernel.writes.clear()
        assert board.apply({"cpu": 1_500_000_000}) == {"cpu": 900_000_000}
        assert board.applied["cpu"].cause is Cause.PROGRAM
        sysfs.kernel.sleep(wait_s - 0.1)
        assert board.apply({"cpu": 700_000_000}) == {"cpu": 900_000_000}
        assert sysfs.kernel.writes == []
        sysfs.kernel.sleep(0.2)
        assert board.apply({"cpu": 700_000_000}) == {"cpu": 700_000_000}
    board.close()
    assert rival.read().strip() == "900000"  # what the rival set, not what was before


def test_change_of_power_mode_wins_and_stays(machine, open_linux):
    sysfs = machine("jetson-xavier-nx")
    board = open_linux(sysfs)
    board.apply({name: d.available_hz[0] for name, d in board.domains.items()})
    nvpmodel = sysfs.kernel.devices["nvpmodel"]
    mode = next(m for m in nvpmodel.modes if m != nvpmodel.mode)
    nvpmodel.switch_power_mode(mode)
    with_mode = {k: v for k, v in sysfs.kernel.snapshot().items() if "cpufreq" in k}
    board.apply({name: d.available_hz[-1] for name, d in board.domains.items()})
    causes = {name: applied.cause for name, applied in board.applied.items()}
    assert causes["cpu0"] is Cause.POWER_MODE
    assert set(causes.values()) <= {Cause.POWER_MODE, Cause.OFFLINE, None}
    board.close()
    after = sysfs.kernel.snapshot()
    assert {k: after[k] for k in with_mode} == with_mode


def test_processors_that_go_offline_are_told(machine, open_linux):
    sysfs = machine("jetson-agx-orin")
    board = open_linux(sysfs)
    board.apply({"cpu0": 500_000_000, "cpu8": 500_000_000})
    for cpu in range(8, 12):
        sysfs.kernel.write(f"sys/devices/system/cpu/cpu{cpu}/online", "0")
    board.apply({"cpu0": 700_000_000, "cpu8": 700_000_000})
    assert board.applied["cpu8"].cause is Cause.OFFLINE
    assert board.applied["cpu0"].cause is None
    for cpu in range(8, 12):
        sysfs.kernel.write(f"sys/devices/system/cpu/cpu{cpu}/online", "1")


# What can go wrong


def test_refused_write_is_an_error_and_the_rest_is_given_back(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    before = sysfs.kernel.snapshot()
    board = open_linux(sysfs)
    sysfs.kernel.fails_writes[CPU0_MAX] = errno.EIO
    with pytest.raises(FrequencyRejectedError, match="scaling_max_freq"):
        board.apply({"cpu": 600_000_000})
    del sysfs.kernel.fails_writes[CPU0_MAX]
    board.close()
    assert sysfs.kernel.snapshot() == before


def test_user_without_rights_learns_which_files_and_what_to_do(machine, open_linux):
    sysfs = machine("jetson-orin-nano")
    before = sysfs.kernel.snapshot()
    sysfs.kernel.fails_writes[CPU0_MAX] = errno.EACCES
    with pytest.raises(PermissionDeniedError, match=r"policy0/scaling_max_freq.*run as root"):
        open_linux(sysfs)
    assert sysfs.kernel.snapshot() == before


def test_clocks_can_be_chosen_so_that_rights_to_the_others_are_not_needed(machine, open_linux):
    sysfs = machine("jetson-orin-nano")
    sysfs.kernel.fails_writes[CPU0_MAX] = errno.EACCES
    assert list(open_linux(sysfs, domains=["gpu"]).domains) == ["gpu"]


def test_late_gpu_is_waited_for(machine, open_linux):
    sysfs = machine("jetson-orin-nano")
    kernel = sysfs.kernel
    links = {path: kernel.real_path(path) for path in kernel.glob("sys/class/devfreq/*")}
    for path in links:
        kernel.remove(path)
    opened_s = kernel.now_s

    def appear(operation, path):
        if kernel.now_s > opened_s + 3 and not kernel.glob("sys/class/devfreq/*"):
            for link, target in links.items():
                kernel.link(link, target)

    kernel.before_access = appear
    assert list(open_linux(sysfs, domains=["gpu"]).domains) == ["gpu"]


def test_missing_clock_is_named_with_those_that_are_there(machine, open_linux):
    with pytest.raises(UnsupportedError, match=r"no clock gpu \(found: cpu\)"):
        open_linux(machine("raspberry-pi-4"), domains=["cpu", "gpu"])


def test_machine_without_clocks_is_not_found(tmp_path, open_linux):
    with pytest.raises(BoardNotFoundError, match=r"cpufreq.*--board sim"):
        open_linux(FakeSysfs(FakeKernel(), tmp_path))


def test_unknown_clock_is_an_error_before_any_write(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    board = open_linux(sysfs)
    with pytest.raises(UnsupportedError, match=r"'gpu'.*cpu"):
        board.apply({"cpu": 600_000_000, "gpu": 1})
    assert sysfs.kernel.writes == []


@pytest.mark.parametrize("capped", [False, True])
def test_any_change_of_limits_is_taken_in_some_order(machine, capped):
    sysfs = machine("raspberry-pi-4")
    folder = sysfs.path("sys/devices/system/cpu/cpufreq/policy0")
    pair = LimitPair(sysfs, folder / "scaling_min_freq", folder / "scaling_max_freq")
    points = (600_000, 1_000_000, 1_400_000, 1_800_000)
    ranges = [Limits(low, high) for low in points for high in points if low <= high]
    for before, after in itertools.product(ranges, ranges):
        sysfs.kernel.devices["cooling_device0"].cool(0)
        pair.write(before)
        assert pair.read() == before
        sysfs.kernel.devices["cooling_device0"].cool(8 if capped else 0)
        pair.write(after)
        sysfs.kernel.devices["cooling_device0"].cool(0)
        assert pair.read() == after


def test_a_cap_of_the_memory_is_never_raised(machine, open_linux):
    """The power mode's, whether it was there before or came meanwhile."""
    sysfs = machine("jetson-orin-nano-super")
    cap = next(file for file in CAPS if sysfs.exists(sysfs.path(file)))
    sysfs.kernel.write(cap, "2133000000")
    board = open_linux(sysfs, Hold.CAP, domains=["emc"])
    top_hz = board.domains["emc"].available_hz[-1]
    assert top_hz > 2_133_000_000
    assert board.apply({"emc": top_hz}) == {"emc": 2_133_000_000}
    assert board.applied["emc"].cause is Cause.POWER_MODE
    assert board.apply({"emc": 665_600_000}) == {"emc": 665_600_000}
    assert board.apply({"emc": top_hz}) == {"emc": 2_133_000_000}
    sysfs.kernel.write(cap, "204000000")
    assert board.apply({"emc": top_hz}) == {"emc": 204_000_000}
    sysfs.kernel.write(cap, "0")
    assert board.apply({"emc": top_hz}) == {"emc": top_hz}

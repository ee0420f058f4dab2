"""Fake clocks obey the rules of cpufreq, devfreq and the memory controller."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.fake.boards import BOARDS
from tests.hw.fake.cpus import CPU
from tests.hw.fake.devfreq import DevfreqDevice
from tests.hw.fake.emc import BPMP, CAP_JETPACK_6, OVERRIDE
from tests.hw.fake.kernel import GENERATIONS, FakeKernel
from tests.hw.fake.testing import TABLE_KHZ, check_refused, generations, policy_of
from tests.hw.fake.thermal import cool_cpufreq

TABLE_HZ = (306_000_000, 408_000_000, 510_000_000)
EMC = f"{BPMP}/clk/emc"


def gpu_of(generation):
    kernel = FakeKernel(generation)
    return kernel, DevfreqDevice(kernel, "sys/devices/gpu.0", TABLE_HZ)


def test_old_cpufreq_refuses_crossed_limits_and_takes_trailing_letters():
    kernel, policy = policy_of("old")
    kernel.write(f"{policy.folder}/scaling_max_freq", "700000abc")
    assert policy.limits_khz() == (600_000, 700_000)
    check_refused(kernel, f"{policy.folder}/scaling_min_freq", 1_000_000)
    kernel.write(f"{policy.folder}/scaling_min_freq", "700000")
    check_refused(kernel, f"{policy.folder}/scaling_max_freq", 600_000)
    assert policy.limits_khz() == (700_000, 700_000)


def test_new_cpufreq_lets_the_maximum_win_and_the_minimum_spring_back():
    kernel, policy = policy_of("new")
    kernel.write(f"{policy.folder}/scaling_min_freq", "1000000")
    kernel.write(f"{policy.folder}/scaling_max_freq", "650000")
    # No point lies between 650 and 650 MHz, so the driver allows the next one.
    assert policy.limits_khz() == (700_000, 700_000)
    kernel.write(f"{policy.folder}/scaling_max_freq", "1500000")
    assert policy.limits_khz() == (1_000_000, 1_500_000)
    check_refused(kernel, f"{policy.folder}/scaling_max_freq", "123abc")


@generations
def test_a_thermal_cap_hides_the_limits_until_it_lets_go(generation):
    kernel, policy = policy_of(generation)
    cooling = cool_cpufreq(kernel, policy)
    kernel.write(f"{policy.folder}/scaling_min_freq", "1000000")
    before = kernel.snapshot()
    kernel.write(f"{cooling.folder}/cur_state", "2")
    assert policy.limits_khz() == (700_000, 700_000)
    assert kernel.requests() == {"policy0": (1_000_000, 1_500_000)}
    kernel.write(f"{cooling.folder}/cur_state", "0")
    assert kernel.snapshot() == before
    check_refused(kernel, f"{cooling.folder}/cur_state", 4)


@given(
    generation=st.sampled_from(GENERATIONS),
    writes=st.lists(st.tuples(st.sampled_from(["min", "max"]), st.integers(0, 2_000_000))),
    cap=st.sampled_from([None, *TABLE_KHZ]),
)
def test_cpufreq_limits_hold_whatever_is_written(generation, writes, cap):
    kernel, policy = policy_of(generation)
    if cap:
        policy.caps_khz["thermal"] = cap
    for end, khz in writes:
        path = f"{policy.folder}/scaling_{end}_freq"
        other = policy.user_max_khz if end == "min" else policy.user_min_khz
        crossed = khz > other if end == "min" else khz < other
        if generation == "old" and crossed:
            check_refused(kernel, path, khz)
        else:
            kernel.write(path, str(khz))
        low, high = policy.limits_khz()
        assert TABLE_KHZ[0] <= low <= high <= (cap or TABLE_KHZ[-1])
        assert low <= policy.cur_khz() <= high
        assert policy.cur_khz() in TABLE_KHZ
        assert generation == "old" or {low, high} <= set(TABLE_KHZ)


@generations
def test_the_clock_follows_the_governor(generation):
    kernel, policy = policy_of(generation)
    shown = {}
    for governor in ("performance", "powersave", "schedutil", "userspace"):
        kernel.write(f"{policy.folder}/scaling_governor", governor)
        policy.load = 0.3
        shown[governor] = policy.cur_khz()
    assert shown == {
        "performance": 1_500_000,
        "powersave": 600_000,
        "schedutil": 1_000_000,
        "userspace": 1_000_000,  # the clock at the switch
    }
    kernel.write(f"{policy.folder}/scaling_setspeed", "600001")
    assert policy.cur_khz() == 700_000
    kernel.write(f"{policy.folder}/scaling_governor", "powersave")
    assert kernel.read(f"{policy.folder}/scaling_setspeed") == "<unsupported>\n"
    check_refused(kernel, f"{policy.folder}/scaling_setspeed", 600_000)
    check_refused(kernel, f"{policy.folder}/scaling_governor", "warp")


def test_clocks_take_effect_after_their_lag():
    kernel, policy = policy_of("new")
    policy.lag_s = 0.005
    kernel.write(f"{policy.folder}/scaling_min_freq", "1500000")
    assert policy.cur_khz() == 600_000
    kernel.sleep(0.005)
    assert policy.cur_khz() == 1_500_000


@pytest.mark.parametrize(("generation", "code"), [("old", errno.EINVAL), ("new", errno.EBUSY)])
def test_a_policy_without_online_cpus_takes_nothing(generation, code):
    kernel = BOARDS["jetson-orin-nx"](generation)
    for cpu in range(4, 8):
        kernel.write(f"{CPU}/cpu{cpu}/online", "0")
    assert kernel.read(f"{CPU}/online") == "0-3\n"
    check_refused(kernel, f"{CPU}/cpufreq/policy4/scaling_max_freq", 1_036_800, code)
    if generation == "old":
        assert kernel.read(f"{CPU}/cpufreq/policy4/affected_cpus") == "\n"
    else:  # and shows nothing
        with pytest.raises(OSError, match="busy"):
            kernel.read(f"{CPU}/cpufreq/policy4/affected_cpus")


def test_toggling_boost_clobbers_the_maximum():
    kernel = BOARDS["x86-acpi"]("new")
    path = f"{CPU}/cpu0/cpufreq/scaling_max_freq"
    kernel.write(path, "1200000")
    kernel.write(f"{CPU}/cpufreq/boost", "0")
    assert kernel.read(path) == "2400000\n"


def test_intel_pstate_forgets_limits_with_its_mode_and_holds_the_preference():
    kernel = BOARDS["x86-intel"]("new")
    folder = f"{CPU}/cpufreq/policy3"
    assert not kernel.exists(f"{folder}/scaling_available_frequencies")
    kernel.write(f"{folder}/scaling_max_freq", "1234567")
    assert kernel.read(f"{folder}/scaling_max_freq") == "1234567\n"
    kernel.write(f"{folder}/scaling_governor", "performance")
    preference = f"{folder}/energy_performance_preference"
    check_refused(kernel, preference, "power", errno.EBUSY)
    kernel.write(f"{CPU}/intel_pstate/status", "passive")
    assert kernel.read(f"{folder}/scaling_max_freq") == "4200000\n"


# devfreq


def test_old_devfreq_refuses_crossed_limits_and_hides_cooling():
    kernel, gpu = gpu_of("old")
    kernel.write(f"{gpu.folder}/max_freq", "408000000")
    check_refused(kernel, f"{gpu.folder}/min_freq", 510_000_000)
    kernel.write(f"{gpu.folder}/max_freq", "0")
    assert (gpu.limits_hz(), gpu.requests()) == ((306_000_000, 0), (306_000_000, 510_000_000))
    gpu.caps_hz["thermal"] = 408_000_000
    kernel.write(f"{gpu.folder}/governor", "performance")
    assert (gpu.limits_hz()[1], gpu.cur_hz()) == (0, 408_000_000)


def test_new_devfreq_lets_the_maximum_win_in_khz():
    kernel, gpu = gpu_of("new")
    kernel.write(f"{gpu.folder}/min_freq", "510000000")
    kernel.write(f"{gpu.folder}/max_freq", "407999001")
    assert gpu.limits_hz() == (408_000_000, 408_000_000)
    kernel.write(f"{gpu.folder}/max_freq", "0")
    assert gpu.limits_hz() == (510_000_000, 510_000_000)
    gpu.caps_hz["thermal"] = 306_000_000
    assert gpu.limits_hz() == (306_000_000, 306_000_000)


@generations
def test_set_freq_exists_only_under_userspace(generation):
    kernel, gpu = gpu_of(generation)
    path = f"{gpu.folder}/userspace/set_freq"
    check_refused(kernel, path, 408_000_000, errno.ENOENT)
    kernel.write(f"{gpu.folder}/governor", "userspace")
    assert kernel.read(path) == "undefined\n"
    kernel.write(path, "408000000")
    assert gpu.cur_hz() == 408_000_000
    kernel.write(f"{gpu.folder}/governor", "powersave")
    assert not kernel.exists(path)


@generations
def test_firmware_may_ignore_what_the_kernel_asks(generation):
    kernel, gpu = gpu_of(generation)
    assert gpu.cur_hz() == 306_000_000
    gpu.firmware_ignores = True
    kernel.write(f"{gpu.folder}/min_freq", "510000000")
    assert (gpu.target_hz(), gpu.cur_hz()) == (510_000_000, 306_000_000)
    gpu.firmware_ignores, gpu.firmware_hz = False, 408_000_000
    assert gpu.cur_hz() == 408_000_000


# The memory clock


def test_bpmp_ignores_impossible_rates_and_unlocked_ones_do_not_last():
    kernel = BOARDS["jetson-orin-nx"]("new")
    emc = kernel.devices["emc"]
    kernel.write(f"{EMC}/rate", "2000000000")
    assert emc.rate_hz() == 204_000_000
    kernel.write(f"{EMC}/rate", "665600000")
    assert emc.rate_hz() == 665_600_000
    kernel.sleep(1)
    assert emc.rate_hz() == 204_000_000
    kernel.write(f"{EMC}/mrq_rate_locked", "1")
    kernel.write(f"{EMC}/rate", "2133000000")
    kernel.sleep(1)
    assert emc.rate_hz() == 2_133_000_000
    kernel.write(CAP_JETPACK_6, "2000000000")
    assert emc.rate_hz() == 665_600_000
    emc.ignores_writes = True
    kernel.write(f"{EMC}/rate", "204000000")
    assert emc.rate_hz() == 665_600_000


def test_tegra210_overrides_only_while_enabled():
    kernel = BOARDS["jetson-nano"]("old")
    emc = kernel.devices["emc"]
    kernel.write(f"{OVERRIDE}/clk_update_rate", "1600000000")
    assert emc.rate_hz() == 68_000_000
    kernel.write(f"{OVERRIDE}/clk_state", "1")
    assert emc.rate_hz() == 1_600_000_000

"""Power modes of Jetson boards, from nvpmodel's own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from hw.settings.power_mode import CONF, STATUS, PowerModes
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.kernel import FakeKernel

CPU0_MAX = "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
MODES = {
    "jetson-orin-nano": "0 15W",  # mode 0 is not the fastest
    "jetson-orin-nano-super": "1 25W",
    "jetson-xavier-nx": "8 MODE_20W_6CORE",
    "jetson-tx2": "0 MAXN",
}


def modes_of(status, conf=""):
    kernel = FakeKernel()
    kernel.add({STATUS: status, CONF: conf})
    sysfs = FakeSysfs(kernel, Path("/nowhere"))
    return sysfs, PowerModes(sysfs)


@pytest.mark.parametrize("name", MODES)
def test_mode_in_force_has_a_number_and_a_name(machine, name):
    assert PowerModes(machine(name)).title() == MODES[name]


@pytest.mark.parametrize("name", [name for name in BOARDS if not name.startswith("jetson")])
def test_other_boards_have_no_modes(machine, name):
    sysfs = machine(name)
    modes = PowerModes(sysfs)
    assert (modes.current(), modes.title()) == (None, None)
    assert modes.limit(sysfs.path(CPU0_MAX)) is None


def test_limits_of_the_mode_are_found_by_whatever_name_a_file_has(machine):
    sysfs = machine("jetson-orin-nano-super")
    modes = PowerModes(sysfs)
    (gpu_max,) = sysfs.glob("sys/class/devfreq/*/max_freq")
    files = (sysfs.path(CPU0_MAX), gpu_max, sysfs.real_path(gpu_max))
    assert [modes.limit(file) for file in files] == [1_344_000, 918_000_000, 918_000_000]
    sysfs.kernel.devices["nvpmodel"].switch_power_mode(2)
    assert modes.title() == "2 MAXN_SUPER"
    assert [modes.limit(file) for file in files] == [None, None, None]
    assert modes.limit(sysfs.path("sys/class/thermal/nothing")) is None


@pytest.mark.parametrize(
    ("status", "number"),
    [("pmode:0002 fmode:fanNull", "2"), ("pmode:0010", "10"), ("pmode:0000", "0"), ("", None)],
)
def test_status_is_read_as_nvpmodel_writes_it(status, number):
    assert modes_of(status)[1].current() == number


@pytest.mark.parametrize(
    "head",
    [
        "< POWER_MODEL ID=3 NAME=7W >",
        "<POWER_MODEL NAME=7W ID=3>",
        "< POWER_MODEL  ID=3   NAME=7W>",
    ],
)
def test_configuration_is_read_leniently(head):
    conf = f"""
# a comment with < POWER_MODEL ID=9 NAME=no >
< PARAM NAME=CPU_A TYPE=FILE >
MAX /{CPU0_MAX}   # what it writes
{head}
CPU_A MAX 960000
CPU_A MAX nonsense
CPU_A
< PM_CONFIG DEFAULT=3 >
"""
    sysfs, modes = modes_of("pmode:0003", conf)
    assert modes.title() == "3 7W"
    assert modes.names == {"3": "7W"}
    assert modes.limit(sysfs.path(CPU0_MAX)) == 960_000


def test_mode_that_the_configuration_lacks_has_a_number_only():
    assert modes_of("pmode:0007")[1].title() == "7"


KNEXT = """
< PARAM TYPE=FILE NAME=GPU >
MAX_FREQ /sys/devices/17000000.ga10b/devfreq/17000000.ga10b/max_freq
MIN_FREQ /sys/devices/17000000.ga10b/devfreq/17000000.ga10b/min_freq
MAX_FREQ_KNEXT /sys/devices/platform/17000000.gpu/devfreq_dev/max_freq
MIN_FREQ_KNEXT /sys/devices/platform/17000000.gpu/devfreq_dev/min_freq
< PARAM TYPE=FILE NAME=EMC >
MAX_FREQ_KNEXT /sys/kernel/nvpmodel_clk_cap/emc
< PARAM TYPE=FILE NAME=GPU_POWER_CONTROL_DISABLE >
GPU_PWR_CNTL_DIS /sys/devices/platform/17000000.gpu/power/control
< POWER_MODEL ID=0 NAME=25W >
GPU MIN_FREQ 0
GPU MAX_FREQ 918000000
EMC MAX_FREQ 2133000000
GPU_POWER_CONTROL_DISABLE GPU_PWR_CNTL_DIS auto
< POWER_MODEL ID=1 NAME=7W >
GPU MAX_FREQ_KNEXT 408000000
< POWER_MODEL ID=2 NAME=MAXN >
GPU MAX_FREQ -1
< PM_CONFIG DEFAULT=1 >
"""
GPU_FOLDER = "sys/devices/platform/17000000.gpu"
EMC_CAP = "sys/kernel/nvpmodel_clk_cap/emc"


@pytest.mark.parametrize("name", ["devfreq_dev/max_freq", "devfreq/17000000.gpu/max_freq"])
@pytest.mark.parametrize(("mode", "limit"), [(0, 918_000_000), (1, 408_000_000), (2, None)])
def test_limit_of_a_file_that_the_next_kernel_has_is_found(name, mode, limit):
    sysfs, modes = modes_of(f"pmode:000{mode}", KNEXT)
    sysfs.kernel.link(f"{GPU_FOLDER}/devfreq_dev", f"{GPU_FOLDER}/devfreq/17000000.gpu")
    assert modes.limit(sysfs.path(f"{GPU_FOLDER}/{name}")) == limit


def test_mode_writes_what_its_section_names_and_nothing_else():
    sysfs, modes = modes_of("pmode:0001", KNEXT)
    files = [f"{GPU_FOLDER}/devfreq_dev/{end}_freq" for end in ("min", "max")]
    files += [EMC_CAP, f"{GPU_FOLDER}/power/control", f"{GPU_FOLDER}/railgate_enable"]
    writes = {m: [modes.writes(m, sysfs.path(f)) for f in files] for m in ("0", "1", "2", "9")}
    assert writes["0"] == [True, True, True, True, False]
    assert writes["1"] == writes["2"] == [False, True, False, False, False]
    assert writes["9"] == [False] * 5


def test_text_of_a_file_without_operating_points_is_what_the_mode_says():
    cap = "< PARAM TYPE=FILE NAME=E >\nMAX_FREQ /{}\n< POWER_MODEL ID=1 NAME=A >\nE MAX_FREQ {}\n"
    for text in ("-1", "0", "2133000000"):
        sysfs, modes = modes_of("pmode:0001", cap.format(EMC_CAP, text))
        assert modes.sets("1", sysfs.path(EMC_CAP)) == text
    assert [modes.knows(mode) for mode in ("1", "9")] == [True, False]


def test_limit_without_a_table_in_the_configuration_is_taken_as_the_kernel_does(machine):
    sysfs = machine("jetson-orin-nx")
    conf = sysfs.kernel.read(CONF).splitlines()
    sysfs.kernel.set(CONF, "\n".join(line for line in conf if not line.startswith("FREQ_TABLE")))
    modes = PowerModes(sysfs)
    cpu0_min = CPU0_MAX.replace("max", "min")
    assert [modes.sets("0", sysfs.path(f)) for f in (cpu0_min, CPU0_MAX)] == ["115200", "1984000"]


def test_limit_stays_known_while_the_status_is_gone():
    sysfs, modes = modes_of("pmode:0000", KNEXT)
    gpu_max = sysfs.path(f"{GPU_FOLDER}/devfreq_dev/max_freq")
    assert modes.limit(gpu_max) == 918_000_000
    sysfs.kernel.set(STATUS, "")
    assert modes.current() is None
    assert modes.limit(gpu_max) == 918_000_000
    # Started without it: the mode that nvpmodel takes by default.
    assert PowerModes(sysfs).limit(gpu_max) == 408_000_000

"""Fake boards are whole, their rivals act, and paths follow links."""

from __future__ import annotations

import errno
from contextlib import suppress

import pytest

from hw.errors import UnsupportedError
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.cpus import CPU, cpu_list
from tests.hw.fake.emc import BPMP
from tests.hw.fake.kernel import FakeKernel
from tests.hw.fake.system import DAEMONS, start_daemon
from tests.hw.fake.testing import check_refused, generations


@generations
@pytest.mark.parametrize("board", BOARDS)
def test_every_board_is_whole(board, generation):
    kernel = BOARDS[board](generation)
    assert kernel.glob("sys/devices/system/cpu/cpufreq/policy*/scaling_driver")
    assert kernel.glob("sys/class/thermal/thermal_zone*/temp")
    for path in kernel.snapshot():
        assert kernel.is_writable(path)
        with suppress(OSError):  # not every text that is read can be written ("<unsupported>")
            kernel.write(path, kernel.read(path).strip())
    assert kernel.snapshot() == BOARDS[board](generation).snapshot()


@generations
def test_a_power_mode_replaces_limits_and_status(generation):
    kernel = BOARDS["jetson-agx-orin"](generation)
    nvpmodel = kernel.devices["nvpmodel"]
    nvpmodel.switch_power_mode(1)
    assert kernel.read("var/lib/nvpmodel/status") == "pmode:0001 fmode:fanNull\n"
    assert kernel.run("nvpmodel -q").splitlines() == ["NV Power Mode: MODE_15W", "1"]
    assert kernel.requests()["policy0"] == (115_200, 1_113_600)
    assert kernel.devices["gpu"].limits_hz() == (306_000_000, 510_000_000)
    assert kernel.devices["cpus"].online == {0, 1, 2, 3}
    nvpmodel.jetson_clocks()
    assert kernel.requests()["policy0"] == (1_113_600, 1_113_600)
    assert kernel.devices["emc"].rate_hz() == 2_133_000_000
    assert not kernel.writes


@pytest.mark.parametrize("name", DAEMONS)
def test_daemons_show_as_processes(name):
    kernel = FakeKernel()
    kernel.add({"proc/1/comm": "init"})
    pid = start_daemon(kernel, name)
    assert kernel.read(f"proc/{pid}/comm") == f"{name[:15]}\n"
    assert name in kernel.read(f"proc/{pid}/cmdline").replace("\0", " ")


def test_cpu_lists_are_printed_as_ranges():
    assert [cpu_list(cpus) for cpus in ([], [0], [0, 1, 3, 4, 5])] == ["", "0", "0-1,3-5"]


def test_paths_follow_links_as_a_file_system_does(tmp_path):
    sysfs = FakeSysfs(BOARDS["jetson-orin-nx"]("new"), tmp_path)
    (gpu,) = sysfs.glob("sys/class/devfreq/*")
    assert sysfs.real_path(gpu / "device") == tmp_path / "sys/devices/platform/17000000.gpu"
    assert sysfs.read_text(gpu / "device/of_node/name") == "gpu"
    folders = sysfs.glob(f"{CPU}/cpu*/cpufreq")
    assert sorted(folder.parent.name for folder in folders) == [f"cpu{cpu}" for cpu in range(8)]
    assert sysfs.exists(folders[0])
    assert not sysfs.exists(gpu / "load")
    with pytest.raises(UnsupportedError, match="no command 'tegrastats'"):
        sysfs.run(["tegrastats"])


def test_users_write_only_what_they_were_granted(tmp_path):
    kernel = BOARDS["jetson-orin-nx"]("new")
    path = f"{CPU}/cpufreq/policy0/scaling_max_freq"
    kernel.is_root = False
    assert not kernel.is_writable(path)
    check_refused(kernel, path, 1_036_800, errno.EACCES)
    assert not kernel.exists(f"{BPMP}/clk/emc/rate")
    kernel.granted.add(path)
    kernel.write(path, "1036800")

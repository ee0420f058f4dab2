"""Programs that set clocks too are found by what runs, and named with what stops them."""

from __future__ import annotations

import pytest

from hw.boards.conflicts import find_conflicts
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.system import start_daemon, start_program, stop_program

REMEDIES = {
    "tuned": ("TuneD", "sudo systemctl stop tuned"),
    "tlp-pd": ("TLP's profile daemon", "sudo systemctl stop tlp-pd"),
    "auto-cpufreq": ("auto-cpufreq", "sudo systemctl stop auto-cpufreq"),
    "power-profiles-daemon": (
        "power-profiles-daemon",
        "sudo systemctl stop power-profiles-daemon",
    ),
    "thermald": ("thermald", "sudo systemctl stop thermald"),
}
JTOP = "jtop (jetson-stats, when a user changes modes or clocks in its window)"
TCC = "TUXEDO Control Center"
SCRIPTS = [
    (("/usr/libexec/platform-python", "-Es", "/usr/sbin/tuned", "-l", "-P"), "TuneD"),
    (("/usr/bin/python3", "-Es", "/usr/sbin/tuned-ppd"), "tuned-ppd"),
    (("/bin/bash", "/etc/systemd/nvpower.sh"), "nvpower"),
    (("/bin/bash", "/usr/bin/jetson_clocks"), "jetson_clocks"),
    (("/usr/bin/python3", "/usr/local/bin/jtop", "--force"), JTOP),  # the service
    (("/opt/jtop/venv/bin/python3.10", "/usr/local/bin/jtop"), JTOP),  # the window
    (("/usr/sbin/nvpmodel", "-m", "2"), "nvpmodel"),
    (("/usr/bin/system76-power", "daemon"), "system76-power"),
    (("/usr/bin/gamemoded",), "gamemoded"),
    (("/usr/sbin/cpufreqd",), "cpufreqd"),
    (("/usr/bin/python3", "/usr/bin/cpupower-gui"), "cpupower-gui"),
    (("/usr/bin/python3", "-u", "/usr/lib/cpupower-gui/cpupower-gui-helper"), "cpupower-gui"),
    (("/usr/bin/asusd",), "asusd"),
    (("/opt/tuxedo-control-center/resources/dist/tuxedo-control-center/data/service/tccd",), TCC),
    (("/usr/bin/lact", "daemon"), "LACT"),
    (("/usr/bin/python3", "-u", "/opt/throttled/throttled.py"), "throttled"),
    (("/usr/sbin/nvphsd",), "NVIDIA's power hints (nvphs)"),
    (("/snap/auto-cpufreq/1/bin/python3.12", "/snap/bin/auto-cpufreq"), "auto-cpufreq"),
]
HARMLESS = [
    ("vim", "tuned"),
    ("journalctl", "-fu", "tuned"),
    ("/usr/bin/sudo", "systemctl", "stop", "tuned"),
    ("/usr/bin/python3", "/home/me/thermald_plot.py", "thermald"),
    ("/usr/bin/python3", "/home/me/read_jtop.py", "jtop"),
    ("/usr/bin/gamemoderun", "game"),
    ("/usr/sbin/nvfancontrol",),  # fans only
    ("",),
]


@pytest.mark.parametrize("name", BOARDS)
def test_quiet_machine_has_no_rivals(machine, name):
    assert find_conflicts(machine(name)) == []


@pytest.mark.parametrize("daemon", REMEDIES)
def test_daemon_is_named_once_with_its_remedy_while_it_runs(machine, daemon):
    sysfs = machine("x86-amd")
    pids = [start_daemon(sysfs.kernel, daemon) for _ in range(2)]
    (rival,) = find_conflicts(sysfs)
    assert (rival.name, rival.remedy) == REMEDIES[daemon]
    for pid in pids:
        stop_program(sysfs.kernel, pid)
    assert find_conflicts(sysfs) == []


def test_tlp_is_known_by_what_it_leaves(machine):
    sysfs = machine("x86-intel")
    sysfs.kernel.add({"run/tlp/last_pwr": "0"})
    (rival,) = find_conflicts(sysfs)
    assert (rival.name, rival.remedy) == ("TLP", "sudo systemctl stop tlp")


@pytest.mark.parametrize(("command_line", "name"), SCRIPTS, ids=lambda value: str(value)[-30:])
def test_script_is_known_behind_its_interpreter(machine, command_line, name):
    sysfs = machine("x86-amd")
    start_program(sysfs.kernel, command_line)
    assert [rival.name for rival in find_conflicts(sysfs)] == [name]


@pytest.mark.parametrize("command_line", HARMLESS, ids=" ".join)
def test_program_that_only_mentions_a_rival_is_none(machine, command_line):
    sysfs = machine("x86-amd")
    start_program(sysfs.kernel, command_line)
    assert find_conflicts(sysfs) == []


def test_all_are_told_in_order(machine):
    sysfs = machine("x86-amd")
    for daemon in ("tuned", "thermald", "auto-cpufreq", "tlp"):
        start_daemon(sysfs.kernel, daemon)
    names = [rival.name for rival in find_conflicts(sysfs)]
    assert names == sorted(names)
    assert {"TuneD", "thermald", "auto-cpufreq", "TLP"} <= set(names)


@pytest.mark.parametrize("board", ["jetson-nano", "jetson-orin-nano", "jetson-agx-orin"])
def test_jetson_clocks_is_known_by_what_it_leaves(machine, board):
    sysfs = machine(board)
    assert find_conflicts(sysfs) == []
    sysfs.kernel.devices["nvpmodel"].jetson_clocks()
    (rival,) = find_conflicts(sysfs)
    assert rival.name.startswith("jetson_clocks")
    assert rival.remedy == "sudo jetson_clocks --restore"


def test_rivals_are_named_when_the_board_is_opened(machine, open_linux, caplog):
    sysfs = machine("x86-intel")
    start_daemon(sysfs.kernel, "thermald")
    open_linux(sysfs)
    assert "thermald sets clocks too; sudo systemctl stop thermald" in caplog.text

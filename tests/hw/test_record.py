"""Recorded trees: the same report elsewhere, boards that can be driven, and nothing private."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from hw.base import Cause, Hold
from hw.boards.linux import LinuxBoard
from hw.doctor.__main__ import Style, main, report
from hw.doctor.record import RecordingSysfs, record
from hw.doctor.survey import survey
from hw.sysfs import Sysfs
from tests.hw.fake.attribute import Text
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.energy import Battery
from tests.hw.fake.system import start_daemon, start_program


def lines_of(sysfs):
    return list(report(survey(sysfs), Style(coloured=False)))


def files_of(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def texts_of(folder):
    """Texts by path, but for the file of a Nano that is written and never shows."""
    files = [path for path in files_of(folder) if path.name != "clk_update_rate"]
    return {path: path.read_text().strip() for path in files}


@pytest.mark.parametrize("name", BOARDS)
def test_recorded_board_gives_the_same_report(machine, tmp_path, name):
    sysfs = machine(name)
    start_daemon(sysfs.kernel, "tuned")
    start_daemon(sysfs.kernel, "tlp")
    expected = lines_of(sysfs)
    n_files = record(sysfs, tmp_path / "tree")
    assert lines_of(Sysfs(tmp_path / "tree")) == expected
    assert 30 < n_files < 400
    assert sysfs.kernel.writes == []


@pytest.mark.parametrize("name", ["jetson-orin-nano-super", "raspberry-pi-5", "x86-intel"])
def test_record_of_a_record_is_the_same(recorded, tmp_path, name):
    record(Sysfs(recorded(name)), tmp_path / "two")
    one, two = (
        {str(p.relative_to(folder)): p.read_text() for p in files_of(folder)}
        for folder in (recorded(name), tmp_path / "two")
    )
    assert one == two


def test_refusals_and_bindings_are_kept_and_what_is_not_there_is_not(machine):
    sysfs = machine("jetson-agx-orin")
    recorder = RecordingSysfs(sysfs)
    zone = next(
        z for z in sysfs.glob("sys/class/thermal/thermal_zone*") if sysfs.exists(z / "cdev0")
    )
    sleeping = sysfs.path("sys/class/thermal/thermal_zone2/temp")
    for path in (zone / "cdev0", sleeping, zone / "no_such_file", zone / "temp"):
        recorder.look(path)
    real = sysfs.kernel.real_path("sys/class/thermal/thermal_zone2/temp")
    assert recorder.tree.refused == {real: errno.EAGAIN}
    names = {name.rpartition("/")[2] for name in recorder.tree.links}
    assert names == {"cdev0", "temp"}
    assert recorder.tree.links[str((zone / "cdev0").relative_to(sysfs.root))].startswith(
        "sys/devices/virtual/thermal/cooling_device"
    )
    assert [name.rpartition("/")[2] for name in recorder.tree.files] == ["temp"]


def test_root_may_be_a_link(recorded, tmp_path):
    (tmp_path / "link").symlink_to(recorded("jetson-orin-nano"))
    assert record(Sysfs(tmp_path / "link"), tmp_path / "two") > 30
    assert lines_of(Sysfs(tmp_path / "two")) == lines_of(Sysfs(tmp_path / "link"))


@pytest.mark.parametrize("name", BOARDS)
def test_recorded_board_can_be_driven_and_is_given_back(recorded, tmp_path, name):
    folder = shutil.copytree(recorded(name), tmp_path / "tree", symlinks=True)
    before = texts_of(folder)
    for hold in (Hold.CAP, Hold.PIN):
        with LinuxBoard(Sysfs(folder), hold=hold, sleep=lambda seconds: None) as board:
            for i in (0, -1, 1):
                board.apply({name: d.available_hz[i] for name, d in board.domains.items()})
                causes = {n: a.cause for n, a in board.applied.items() if a.cause is not None}
                if name == "jetson-nano":  # what is written is another file than what is shown
                    assert causes.pop("emc") is Cause.FIRMWARE
                assert set(causes.values()) <= ({Cause.POWER_MODE} if i == -1 else set())
            now = texts_of(folder)
            changed = [path for path, text in before.items() if now[path] != text]
            assert len(changed) >= len(board.domains)
            for sensor in board.power_sensors.values():
                assert sensor.read_w() >= 0.0
            assert board.temperature_c() > 0
            if board.power.total.rails:
                board.begin_window()
        now = texts_of(folder)
        assert {path: now[path] for path in before} == before


def test_limits_of_the_power_mode_are_known_in_the_copy(recorded, tmp_path):
    """The configuration names files of /sys/devices, the clocks those of /sys/class."""
    folder = shutil.copytree(recorded("jetson-orin-nano-super"), tmp_path / "t", symlinks=True)
    with LinuxBoard(Sysfs(folder), domains=["gpu"]) as board:
        board.apply({"gpu": 1_020_000_000})
        assert board.applied["gpu"].cause is Cause.POWER_MODE


def test_nothing_private_is_in_the_tree(machine, tmp_path):
    sysfs = machine("x86-intel")
    kernel = sysfs.kernel
    battery = kernel.real_path("sys/class/power_supply/BAT0")
    kernel.add(
        {"serial_number": "SECRET-1", "uevent": "POWER_SUPPLY_SERIAL_NUMBER=SECRET-2"}, battery
    )
    hwmon = kernel.real_path(kernel.glob("sys/class/hwmon/hwmon*")[0])
    kernel.add({"address": "SECRET-3", "device_uuid": "SECRET-4"}, hwmon)
    kernel.add({"product_serial": "SECRET-5", "product_uuid": "SECRET-6"}, "sys/class/dmi/id")
    kernel.add({"proc/device-tree/serial-number": Text("SECRET-7", end="\0")})
    start_program(kernel, ("/usr/bin/python3", "/home/alice/SECRET-8.py", "--password", "SECRET-9"))
    start_daemon(kernel, "auto-cpufreq")
    record(sysfs, tmp_path / "tree")
    files = files_of(tmp_path / "tree")
    assert not [path for path in files if "SECRET" in path.read_text()]
    assert not [path for path in files if "SECRET" in str(path) or path.name == "boot_id"]
    processes = [path for path in files if "proc" in path.parts and path.name == "cmdline"]
    assert ["auto-cpufreq" in path.read_text() for path in processes] == [True]


def test_battery_that_was_recorded_still_tells_its_power(machine, tmp_path):
    sysfs = machine("raspberry-pi-4")
    Battery(sysfs.kernel, reports="current")
    record(sysfs, tmp_path / "tree")
    (rail,) = survey(Sysfs(tmp_path / "tree")).rails
    assert rail.power_w == pytest.approx(8.0, abs=0.01)


def test_more_files_than_a_process_may_hold_open_are_recorded(recorded, tmp_path):
    opened = []

    class Counting(Sysfs):
        def _pread(self, path):
            text = super()._pread(path)
            opened.append(len(self._readers))
            return text

    record(Counting(recorded("x86-intel")), tmp_path / "two")
    assert len(opened) > 300
    assert opened[-1] <= 1


def test_files_that_may_not_be_written_stay_so(machine, tmp_path):
    sysfs = machine("jetson-orin-nano")
    sysfs.kernel.is_root = False
    record(sysfs, tmp_path / "tree")
    modes = {path.stat().st_mode & 0o222 for path in files_of(tmp_path / "tree")}
    assert modes == {0}


def test_folder_must_be_new_and_writable(recorded, tmp_path, capsys):
    root = ["--root", str(recorded("raspberry-pi-4")), "--record"]
    assert main([*root, str(tmp_path)]) == 2
    assert f"{tmp_path} exists already; name a new folder" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([*root, str(tmp_path / "file" / "tree")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert main([*root, str(tmp_path / "new" / "tree")]) == 0
    n_files = int(capsys.readouterr().out.split()[0])
    real = [p for p in files_of(tmp_path / "new") if not os.path.islink(p)]
    assert n_files == len(real) > 30


def test_a_machine_that_shows_nothing_can_be_recorded_and_looked_at(tmp_path, capsys):
    (tmp_path / "bare" / "sys").mkdir(parents=True)
    record(Sysfs(tmp_path / "bare"), tmp_path / "tree")
    assert main(["--root", str(tmp_path / "tree")]) == 0
    assert "no clock" in capsys.readouterr().out

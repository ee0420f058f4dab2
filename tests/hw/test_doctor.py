"""The doctor's report: all facts on one screen, and commands that mend what they say they mend."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from hw.doctor.__main__ import PLAIN, Style, main, report
from hw.doctor.survey import survey
from hw.sysfs import Sysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.hwmon import Rail, add_ina2xx
from tests.hw.fake.system import start_daemon

REPOSITORY = Path(__file__).parents[2]
COLUMNS, LINES = 140, 40
REMEDY = re.compile(r"permission|not measured|  sudo|rival|left behind|driven now")


def lines_of(sysfs):
    return list(report(survey(sysfs), Style(coloured=False)))


@pytest.fixture
def own_tree(recorded, tmp_path):
    """A recorded board to write to."""
    return lambda name: shutil.copytree(recorded(name), tmp_path / "tree", symlinks=True)


@pytest.mark.parametrize("name", BOARDS)
def test_report_names_every_clock_rail_and_zone_on_one_screen(machine, open_linux, name):
    sysfs = machine(name)
    lines = lines_of(sysfs)
    board = open_linux(sysfs)
    text = "\n".join(lines)
    for kind in (board.domains, board.power.sensors, board.power.counters, board.thermal_zones):
        for item in kind:
            (line,) = [line for line in lines if line.split()[0] == item]
            assert len(line) < 100
    ability = text[text.index("an agent could") :]
    assert ", ".join(sorted(board.domains)) == ", ".join(
        sorted(re.search(r"drive +(.*)", ability)[1].split(", "))
    )
    for rail in board.power.total.rails or ("no energy",):
        assert rail in ability
    assert f"stay below {board.temperature_limit_c:.0f} C" in ability
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS


@pytest.mark.parametrize("name", BOARDS)
def test_report_fits_one_screen_for_a_user_without_rights_too(machine, name):
    sysfs = machine(name)
    sysfs.kernel.is_root = False
    lines = lines_of(sysfs)
    assert len(lines) <= LINES
    assert max(len(line) for line in lines if not REMEDY.match(line)) <= COLUMNS
    assert any("not writable" in line for line in lines)
    assert any("drive     no clock" in line for line in lines)
    if name.startswith("jetson") and name != "jetson-thor":
        (line,) = [line for line in lines if "memory clock" in line]
        assert "look again with sudo" in line


@pytest.mark.parametrize("name", BOARDS)
def test_json_holds_the_same_facts(recorded, capsys, name):
    folder = recorded(name)
    assert main(["--root", str(folder), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(json.dumps(asdict(survey(Sysfs(folder)))))
    assert {clock["name"] for clock in printed["clocks"]}
    assert all(clock["available_hz"][0] > 1e6 for clock in printed["clocks"])


def test_colours_are_for_terminals_only(recorded, capsys, monkeypatch):
    folder = str(recorded("jetson-orin-nano"))
    main(["--root", folder])
    plain = capsys.readouterr().out
    assert "\033" not in plain
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    main(["--root", folder])
    coloured = capsys.readouterr().out
    assert coloured.count(PLAIN) > 5
    assert re.sub(r"\033\[\d+m", "", coloured) == plain


def test_command_works_from_a_shell(recorded):
    command = [sys.executable, "-m", "hw.doctor", "--root", str(recorded("jetson-tx2"))]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("quill (Linux 4.9.337-tegra, power mode 0 MAXN)\n")
    assert result.stderr == ""


def test_limits_of_the_power_mode_stand_beside_those_of_the_hardware(machine):
    (line,) = [x for x in lines_of(machine("jetson-orin-nano-super")) if x.startswith("  cpu0 ")]
    assert line.split() == ["cpu0", "22", "115-1728", "115", "115-1344", "schedutil", "cap,", "pin"]


# What stands in the way


class GroupMember(Sysfs):
    """A user who does not own the files, whoever runs the test."""

    def is_writable(self, path):
        mode = path.stat()
        return bool(mode.st_mode & stat.S_IWGRP) and mode.st_gid == os.getgid()


@pytest.mark.parametrize("name", ["jetson-orin-nano", "x86-intel", "rk3588", "raspberry-pi-4"])
def test_printed_command_gives_the_right_that_is_missing(own_tree, name):
    folder = own_tree(name)
    shutil.rmtree(folder / "sys/kernel", ignore_errors=True)  # closed as a whole
    sysfs = GroupMember(folder)
    before = lines_of(sysfs)
    (command,) = [line for line in before if "chmod g+w" in line]
    assert command.startswith("  sudo sh -c ")
    assert command.count("/sys/") <= 8
    subprocess.run(command.replace("sudo ", ""), shell=True, check=True)
    after = lines_of(sysfs)
    assert not any("you may not" in line for line in after)
    assert not any("not writable" in line for line in after)
    assert any("drive     cpu" in line for line in after)
    governor = sysfs.glob("sys/devices/system/cpu/cpufreq/policy*/scaling_governor")[0]
    assert not sysfs.is_writable(governor)  # no more than what is needed


def test_printed_command_lets_the_group_read_counters(machine, tmp_path):
    sysfs = machine("x86-intel")
    sysfs.kernel.is_root = False
    lines = lines_of(sysfs)
    (command,) = [line for line in lines if "chmod g+r" in line]
    (line,) = [line for line in lines if line.startswith("not measured")]
    assert "energy_uj cannot be read" in line
    for zone in ("intel-rapl:0", "intel-rapl:0:2", "intel-rapl:1"):
        file = tmp_path / "sys/class/powercap" / zone / "energy_uj"
        file.parent.mkdir(parents=True)
        file.touch(mode=0o400)
    subprocess.run(command.replace("sudo ", ""), shell=True, check=True)
    modes = {file.stat().st_mode & 0o777 for file in tmp_path.rglob("energy_uj")}
    assert modes == {0o440}


def test_rivals_heat_and_unreadable_rails_are_told(machine):
    sysfs = machine("jetson-orin-nano")
    start_daemon(sysfs.kernel, "tuned")
    start_daemon(sysfs.kernel, "thermald")
    sysfs.kernel.devices["cpu-thermal" if not sysfs.kernel.is_old else "CPU-therm"].heat_to(100.0)
    sysfs.kernel.devices["VDD_SOC"].is_enabled = False
    sysfs.kernel.fails["sys/class/hwmon/hwmon1/curr1_input"] = 5
    text = "\n".join(lines_of(sysfs))
    assert "conflict: TuneD sets clocks too; sudo systemctl stop tuned" in text
    assert "conflict: thermald sets clocks too; sudo systemctl stop thermald" in text
    assert text.count("slowed down: cooling_device") == 2
    assert "VDD_SOC" not in text
    assert re.search(r"not measured: \S+curr1_input cannot be read", text)


def test_what_a_killed_process_left_is_told_with_the_command_that_restores_it(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    board = open_linux(sysfs)
    assert "left behind" not in "\n".join(lines_of(sysfs))
    board.apply({"cpu": 600_000_000})
    board._session._saved.clear()  # as if it had been killed
    board.close()
    (line,) = [line for line in lines_of(sysfs) if line.startswith("left behind")]
    assert "1 settings" in line
    assert line.endswith("sudo python -m hw.restore")


def test_living_controller_is_told_and_not_taken_for_a_rival_or_a_dead_one(machine, open_linux):
    sysfs = machine("jetson-orin-nano")
    board = open_linux(sysfs)
    board.apply({name: domain.available_hz[-1] for name, domain in board.domains.items()})
    text = "\n".join(lines_of(sysfs))
    assert f"driven now by process {os.getpid()}" in text
    assert "left behind" not in text
    assert "jetson_clocks" not in text
    board.close()
    assert "driven now" not in "\n".join(lines_of(sysfs))


@pytest.mark.parametrize("name", BOARDS)
def test_doctor_changes_nothing_and_leaves_the_machine_free(machine, open_linux, name):
    sysfs = machine(name)
    survey(sysfs)
    assert sysfs.kernel.writes == []
    open_linux(sysfs)
    survey(sysfs)  # even while it is driven


def test_shunt_of_each_rail_is_told_and_the_drivers_default_doubted(machine):
    """A breakout of 100 mOhm by the driver's 10: 3.5 W look like 35."""
    sysfs = machine("raspberry-pi-4")
    rail = Rail("in", 100.0, 12.0, 3.5)
    add_ina2xx(sysfs.kernel, "sys/devices/i2c-1/1-0041", "ina226", rail, told_mohm=10.0)
    lines = lines_of(sysfs)
    (line,) = [line for line in lines if line.startswith("  ina226.power1")]
    assert line.split()[1:3] + line.split()[-5:-3] == ["35.000", "W", "10", "mOhm"]
    doubts = [line for line in lines if line.startswith("doubtful: ")]
    assert "ina226.power1 is computed with a shunt of 10 mOhm, the driver's default" in doubts[0]
    assert "35.0 W is more than a board like pi4 draws (about 4 W)" in doubts[1]


def test_shunt_that_the_device_tree_tells_is_not_doubted(machine):
    lines = lines_of(machine("jetson-xavier-nx"))
    assert not any(line.startswith("doubtful") for line in lines)


# What it is pointed at


def error_of(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"error: .+; .+\n", err), err
    return err


def test_missing_or_empty_root_is_one_sentence(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for root in ("missing", "empty", "file"):
        assert f"{root} holds no folder sys" in error_of(capsys, "--root", tmp_path / root)


def test_machine_without_anything_says_so(tmp_path, capsys):
    (tmp_path / "sys").mkdir()
    assert main(["--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("unknown machine (Linux unknown)\n")
    for text in ("clocks  none that the kernel lets be set", "no energy", "not be guarded"):
        assert text in out


def test_root_may_be_relative_or_a_link(recorded, tmp_path, monkeypatch, capsys):
    folder = recorded("jetson-orin-nano")
    main(["--root", str(folder)])
    expected = capsys.readouterr().out
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    for root in ("link", os.path.relpath(folder), f"{tmp_path}/../{tmp_path.name}/link"):
        assert main(["--root", root]) == 0
        assert capsys.readouterr().out == expected


def kinds_of_files(folder):
    """One file of each kind: the same name, but for numbers, is the same to the code."""
    kinds = {re.sub(r"\d+", "#", str(p)): p for p in folder.rglob("*") if p.is_file()}
    return sorted(path for path in kinds.values() if not path.is_symlink())


def check_report(folder, capsys, path):
    code = main(["--root", str(folder)])
    out, err = capsys.readouterr()
    assert (code, err) == (0, ""), path
    assert "an agent could" in out, path


@pytest.mark.parametrize("name", ["jetson-orin-nano-super", "x86-intel", "jetson-nano"])
def test_garbage_in_any_file_still_gives_a_report(own_tree, capsys, name):
    folder = own_tree(name)
    for path in kinds_of_files(folder):
        text = path.read_bytes()
        path.chmod(0o644)
        for garbage in (b"", b"garbage\n", b"\xff\xfe\0\x80", b"-1", b"0"):
            path.write_bytes(garbage)
            check_report(folder, capsys, path)
        path.write_bytes(text)


@pytest.mark.parametrize("name", ["jetson-orin-nano-super", "x86-intel", "jetson-nano"])
def test_missing_files_still_give_a_report(own_tree, capsys, name):
    folder = own_tree(name)
    for path in kinds_of_files(folder):
        aside = path.with_name("aside")
        path.rename(aside)
        check_report(folder, capsys, path)
        aside.rename(path)

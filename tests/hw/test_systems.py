"""The table of systems, the row that a machine is, and what the doctor and the page say of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hw.doctor import systems
from hw.doctor.__main__ import main
from hw.doctor.systems import SYSTEMS, lines, survey_system, system_of
from hw.sysfs import Sysfs
from tests.conftest import REPOSITORY

JETSONS = {
    "# R32 (release), REVISION: 7.4, GCID: 1": "JetPack 4",
    "# R35 (release), REVISION: 4.1, GCID: 1": "JetPack 5",
    "# R36 (release), REVISION: 4.3, GCID: 1": "JetPack 6",
    "# R38 (release), REVISION: 2.0, GCID: 1": "JetPack 7",
    "# R39 (release), REVISION: 2.1, GCID: 1": "JetPack 7",
}
DEBIAN_12 = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'
UBUNTU_24 = "NAME=\"Ubuntu\"\nVERSION_ID='24.04'\nID=ubuntu\nID_LIKE=debian\n"


def tree(folder: Path, **files: str) -> Sysfs:
    """A machine that has these files in /etc; dashes of their names are underscores here."""
    for name, text in files.items():
        path = folder / "etc" / (name if name.startswith("nv") else name.replace("_", "-"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Sysfs(folder)


def row_of(folder: Path, **files: str) -> str | None:
    row = system_of(tree(folder, **files))
    return row and row.name


def test_page_shows_the_table_of_the_code():
    assert "\n".join(systems.table()) in (REPOSITORY / "docs" / "board.md").read_text()


def test_doctor_prints_the_table(capsys):
    assert main(["--systems"]) == 0
    assert capsys.readouterr().out.splitlines() == list(systems.table())


@pytest.mark.parametrize("release", JETSONS)
def test_jetson_is_known_by_its_release_of_linux_not_by_the_ubuntu_below(tmp_path, release):
    name = row_of(tmp_path, nv_tegra_release=release, os_release=UBUNTU_24)
    assert name == JETSONS[release]


def test_release_that_the_table_does_not_know_is_no_other_one(tmp_path):
    assert row_of(tmp_path, nv_tegra_release="# R28 (release), REVISION: 1.0") is None
    assert row_of(tmp_path / "a", os_release=UBUNTU_24.replace("24.04", "25.10")) is None
    assert row_of(tmp_path / "b", os_release="ID=alpine\nVERSION_ID=3.20\n") is None
    assert row_of(tmp_path / "c") is None


@pytest.mark.parametrize("garbage", ["", "\0\xff", 'ID="debian\nVERSION_ID=12', "=\n=", "R", "#R"])
def test_garbage_is_no_system(tmp_path, garbage):
    assert row_of(tmp_path, os_release=garbage) is None
    assert row_of(tmp_path, nv_tegra_release=garbage, armbian_release=garbage) in (None, "Armbian")


def test_raspberry_pi_os_is_told_from_debian(tmp_path):
    assert row_of(tmp_path, os_release=DEBIAN_12) == "Debian 12"
    assert row_of(tmp_path, rpi_issue="Raspberry Pi reference") == "Raspberry Pi OS 12 (bookworm)"
    old = DEBIAN_12.replace("debian", "raspbian").replace("12", "13")
    assert row_of(tmp_path / "32", os_release=old) == "Raspberry Pi OS 13 (trixie)"


def test_armbian_has_the_python_of_what_it_is_built_on(tmp_path):
    row = system_of(tree(tmp_path, os_release=UBUNTU_24, armbian_release="BOARD=rock-5b"))
    assert (row.name, row.python, row.install) == (
        "Armbian on Ubuntu 24.04",
        (3, 12),
        "./install.sh",
    )
    old = UBUNTU_24.replace("24.04", "20.04")
    row = system_of(tree(tmp_path / "old", os_release=old, armbian_release="BOARD=rock-5b"))
    assert row.install == "./install.sh --standalone"
    assert row_of(tmp_path / "odd", armbian_release="BOARD=rock-5b") == "Armbian"


def test_python_that_is_too_old_or_too_new_takes_the_standalone_one():
    by_name = {row.name: row.install for row in SYSTEMS}
    assert by_name["JetPack 4"] == by_name["Ubuntu 26.04"] == "./install.sh --standalone"
    assert by_name["JetPack 6"] == by_name["Raspberry Pi OS 13 (trixie)"] == "./install.sh"


def test_recorded_machine_says_what_its_system_has_and_nothing_of_this_one(recorded):
    sysfs = Sysfs(recorded("jetson-orin-nano"))
    found = survey_system(sysfs)
    assert (found.python, found.onnx_runtimes, found.problems) == (None, (), ())
    first, second = lines(found)
    assert first == "JetPack 6, Python 3.10; to install: ./install.sh"
    assert second.endswith("--index https://pypi.jetson-ai-lab.io/jp6/cu126")
    assert "`" not in second


def test_machine_of_no_row_says_so(tmp_path):
    (only,) = lines(survey_system(tree(tmp_path)))
    assert only == "not in the table of python -m hw.doctor --systems"


@pytest.fixture
def live(monkeypatch):
    """This machine, with what is installed as told."""

    def build(*installed: str):
        monkeypatch.setattr("common.extras.brought_by", lambda _: installed)
        monkeypatch.setattr(systems, "brought_by", lambda _: installed)
        return survey_system(Sysfs())

    return build


def test_two_builds_of_onnx_runtime_are_a_problem(live):
    (problem,) = live("onnxruntime 1.32.0", "onnxruntime-gpu 1.31.1").problems
    assert problem.startswith("onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 overwrite each other")
    assert live("onnxruntime-gpu 1.31.1").problems == ()
    assert "no ONNX Runtime" in next(lines(live()))


def test_python_of_32_bits_is_a_problem(live, monkeypatch):
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert "install the 64-bit image" in live().problems[0]

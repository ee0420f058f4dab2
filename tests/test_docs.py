"""What the documents tell people to install does what they say."""

from __future__ import annotations

import grp
import os
import re
import stat
import subprocess

import pytest

import deploy
from hw import restore
from hw.boards.linux import LinuxBoard
from hw.clocks.cpufreq import POLICIES
from hw.clocks.devfreq import DEVFREQ
from tests.conftest import REPOSITORY

RULES = REPOSITORY / "docs" / "99-dvfo.rules"
UNIT = REPOSITORY / "docs" / "dvfo.service"


def rule_for(subsystem: str) -> str:
    """The shell command that a rule runs for a device of a subsystem."""
    pattern = rf'SUBSYSTEM=="{subsystem}".*RUN\+="/bin/sh -c \'(.*)\'"'
    return re.search(pattern, RULES.read_text())[1]


@pytest.mark.parametrize(
    ("subsystem", "device", "files", "bit"),
    [
        (
            "cpu",
            "/devices/system/cpu/cpu0",
            ("cpufreq/scaling_min_freq", "cpufreq/scaling_max_freq"),
            stat.S_IWGRP,
        ),
        ("devfreq", "/devices/17000000.gpu/devfreq/x", ("min_freq", "max_freq"), stat.S_IWGRP),
        ("powercap", "/devices/virtual/powercap/intel-rapl:0", ("energy_uj",), stat.S_IRGRP),
    ],
)
def test_udev_rules_open_the_files_that_the_boards_write(tmp_path, subsystem, device, files, bit):
    folder = tmp_path / device.lstrip("/")
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1\n")
        path.chmod(0o600)
    group = grp.getgrgid(os.getgid()).gr_name
    command = (
        rule_for(subsystem).replace("/sys%p", str(folder)).replace("chgrp dvfo", f"chgrp {group}")
    )
    subprocess.run(["/bin/sh", "-c", command], check=True)
    assert all((folder / name).stat().st_mode & bit for name in files)


def test_every_file_that_capping_writes_is_in_the_rules(machine_files):
    allowed = {"scaling_min_freq", "scaling_max_freq", "min_freq", "max_freq"}
    assert {path.name for path in machine_files} == allowed
    for name in allowed:
        assert name in RULES.read_text()
    assert all(POLICIES in str(path) or DEVFREQ in str(path) for path in machine_files)


@pytest.fixture
def machine_files(tmp_path):
    from tests.hw.fake.access import FakeSysfs
    from tests.hw.fake.boards import BOARDS

    kernel = BOARDS["rk3588"]("new")
    with LinuxBoard(FakeSysfs(kernel, tmp_path), clock=kernel.clock, sleep=kernel.sleep) as board:
        return [file for domain in board.domains.values() for file in domain.written_files]


def test_unit_calls_commands_that_exist_and_may_write_what_they_need():
    unit = UNIT.read_text()
    command = re.search(r"ExecStart=\S+ deploy.py (.*)", unit)[1]
    deploy._parser().parse_args(command.split())
    assert "ExecStopPost=/opt/dvfo/.venv/bin/python -m hw.restore" in unit
    assert restore.main is not None
    assert "ProtectKernelTunables=false" in unit
    assert "StateDirectory=dvfo" in unit
    assert "RuntimeDirectory=dvfo" in unit

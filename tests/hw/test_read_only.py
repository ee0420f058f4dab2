"""Files that are mounted read-only, as in most containers: said so, with the way to mount them."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys

import pytest

from hw.doctor.__main__ import Style, report
from hw.doctor.survey import survey
from hw.errors import PermissionDeniedError
from tests.conftest import REPOSITORY
from tests.hw.fake.boards import BOARDS

REMEDY = "mounted read-only, as in most containers; give the container the real one (docker run"
WRONG = ("run as root", "udev", "chgrp", "chmod")


@pytest.mark.parametrize("name", BOARDS)
def test_board_in_a_container_is_refused_with_the_way_to_mount_it(machine, open_linux, name):
    sysfs = machine(name)
    sysfs.kernel.is_read_only = True
    with pytest.raises(PermissionDeniedError, match=r"files cannot be .*-v /sys:/sys") as e:
        open_linux(sysfs)
    assert REMEDY in str(e.value)
    assert not any(word in str(e.value) for word in WRONG)
    text = "\n".join(report(survey(sysfs), Style(coloured=False)))
    assert text.count(REMEDY) == 1
    assert not any(word in text for word in WRONG)


def test_write_that_hits_a_read_only_mount_later_says_so_too(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    board = open_linux(sysfs)
    sysfs.kernel.fails_writes["sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"] = (
        errno.EROFS
    )
    with pytest.raises(PermissionDeniedError, match=r"scaling_max_freq .* mounted read-only") as e:
        board.apply({"cpu": 600_000_000})
    assert not any(word in str(e.value) for word in WRONG)
    sysfs.kernel.fails_writes.clear()


OPEN = """
import sys
from pathlib import Path
from hw.boards.linux import LinuxBoard
from hw.errors import HardwareError
from hw.sysfs import Sysfs
try:
    LinuxBoard(Sysfs(Path(sys.argv[1])), journal=Path(sys.argv[2]), sleep=lambda s: None).open()
except HardwareError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts, which takes root")
@pytest.mark.parametrize(
    "command", [["-m", "hw.doctor", "--root", "{}"], ["-c", OPEN, "{}", "{j}"]]
)
def test_real_read_only_mount_is_told_apart_from_missing_rights(recorded, tmp_path, command):
    tree = shutil.copytree(recorded("jetson-orin-nano"), tmp_path / "tree", symlinks=True)
    journal = tmp_path / "journal"
    words = [word.replace("{}", str(tree)).replace("{j}", str(journal)) for word in command]
    mounted = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounted, str(tree), sys.executable, *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if "Operation not permitted" in result.stderr:
        pytest.skip("this machine lets nobody mount")
    assert result.returncode == 0, result.stderr
    assert REMEDY in result.stdout
    assert not any(word in result.stdout for word in WRONG)

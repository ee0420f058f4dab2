"""The journal's folder may be shared by a group whose members are not to be trusted."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import subprocess
import sys
import threading

import pytest

from hw.base import Hold
from hw.boards.linux import LinuxBoard
from hw.errors import BusyError, HardwareError, JournalError
from hw.session.journal import Journal
from hw.session.session import Session
from tests.hw.changed import leave_changed, restored

GOVERNOR = "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"
BOOT_ID = "proc/sys/kernel/random/boot_id"
MEMBER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="tries what root does to others' files")


@pytest.fixture
def folder(pi):
    """The journal's folder as docs/permissions.md makes it for a group."""
    folder = Journal.of_machine(pi).folder
    folder.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(folder, 0, MEMBER)
    folder.chmod(0o2770)
    return folder


def line(sysfs, setting: dict[str, str], saved: object = "ondemand") -> str:
    boot_id = sysfs.read_text(sysfs.path(BOOT_ID))
    return json.dumps({"boot_id": boot_id, "setting": setting, "saved": saved}) + "\n"


# A group member who is not to be trusted


@pytest.mark.parametrize("name", ["lock", "journal.jsonl"])
def test_link_in_the_folder_is_not_followed(pi, folder, tmp_path, name):
    victim = tmp_path / "shadow"
    victim.write_text("root's own")
    (folder / name).symlink_to(victim)
    session = Session(pi)
    with pytest.raises(JournalError, match=rf"{name} is a link and is not followed.*sudo rm"):
        session.begin()
    assert victim.read_text() == "root's own"


@pytest.mark.parametrize("name", ["lock", "journal.jsonl"])
def test_second_name_of_another_file_and_a_pipe_are_not_written(pi, folder, tmp_path, name):
    victim = tmp_path / "shadow"
    victim.write_text("root's own")
    os.link(victim, folder / name)
    with pytest.raises(JournalError, match="no plain file"):
        Session(pi).begin()
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(HardwareError, match=r"no plain file|cannot be used"):
        Session(pi).begin()  # and does not wait for a writer
    assert victim.read_text() == "root's own"


def test_link_that_comes_while_the_machine_is_driven_is_not_followed(pi, folder, tmp_path):
    victim = tmp_path / "shadow"
    victim.write_text("root's own")
    session = Session(pi)
    session.begin()
    (folder / "journal.jsonl").symlink_to(victim)
    kernel = pi.kernel
    board = LinuxBoard(pi, hold=Hold.PIN, clock=kernel.clock, sleep=kernel.sleep)
    board._session = session
    session.end()
    with pytest.raises(JournalError, match="is a link"):
        board.open()
    assert victim.read_text() == "root's own"
    assert kernel.writes == []


@pytest.mark.parametrize(
    "setting",
    [
        {"kind": "attribute", "path": p, "shown": p}
        for p in (
            "sys/kernel/uevent_helper",
            "sys/class/devfreq/x/../../../kernel/uevent_helper",
            "sys/devices/system/cpu/cpufreq/policy0/../../../../../kernel/uevent_helper",
            "sys/class/devfreq/a/device/driver/unbind",
            "sys/module/kernel/parameters/panic",
            "sys/kernel/debug/bpmp/debug/clk/emc/rate/../../../x",
        )
    ]
    + [
        {"kind": "limits", "minimum": GOVERNOR, "maximum": "sys/kernel/uevent_helper"},
        {"kind": "nonsense"},
        {"kind": "limits", "minimum": 1, "maximum": 2},
        ["kind"],
    ],
)
def test_forged_line_writes_nothing_but_what_a_clock_is_set_by(pi, folder, setting, caplog):
    (folder / "journal.jsonl").write_text(line(pi, setting, "/home/me/rootkit"))
    begin_and_end(pi)
    assert re.search(r"no file that a clock is set by|no setting", caplog.text)
    assert pi.kernel.writes == []
    caplog.clear()
    begin_and_end(pi)
    assert caplog.text == ""  # told once


def begin_and_end(sysfs):
    session = Session(sysfs)
    session.begin()
    session.end()


def test_values_that_no_limit_has_are_damage_and_told_once(pi, folder, caplog):
    files = {end: GOVERNOR.replace("governor", f"{end[:3]}_freq") for end in ("minimum", "maximum")}
    (folder / "journal.jsonl").write_text(line(pi, {"kind": "limits", **files}, "fast"))
    begin_and_end(pi)
    assert "'fast' is not two whole numbers" in caplog.text
    caplog.clear()
    begin_and_end(pi)
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["journal.damaged.jsonl.new", "journal.jsonl.new"])
def test_folder_in_the_way_of_a_journal_keeps_nobody_from_starting(pi, folder, caplog, name):
    before = pi.kernel.read(GOVERNOR)
    setting = {"kind": "attribute", "path": GOVERNOR, "shown": GOVERNOR}
    (folder / "journal.jsonl").write_text("nonsense\n" + line(pi, setting, before.strip()))
    pi.kernel.attribute(GOVERNOR).write("powersave")
    (folder / name).mkdir()
    begin_and_end(pi)
    assert "line 1 of" in caplog.text
    assert pi.kernel.read(GOVERNOR) == before


def test_name_in_the_lock_brings_no_control_characters_to_the_terminal(pi, folder):
    session = Session(pi)
    session.begin()
    (folder / "lock").write_text("process 1 \x1b]0;mine\x07")
    with pytest.raises(BusyError) as caught:
        Session(pi).begin()
    session.end()
    assert str(caught.value).isprintable()


def test_look_at_who_drives_keeps_nobody_from_starting(pi, folder):
    (folder / "lock").touch()
    with open(folder / "lock") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.03, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        session = Session(pi)
        session.begin()
        session.end()


@as_root
def test_root_does_not_do_what_a_member_of_the_group_has_written(pi, folder):
    journal = folder / "journal.jsonl"
    journal.write_text(line(pi, {"kind": "attribute", "path": GOVERNOR, "shown": GOVERNOR}, "x"))
    os.chown(journal, MEMBER, MEMBER)
    with pytest.raises(JournalError, match=rf"belongs to user {MEMBER}.*sudo rm {journal}"):
        Session(pi).begin()
    assert pi.kernel.writes == []
    journal.unlink()
    session = Session(pi)
    session.begin()
    session.end()


@as_root
def test_journal_of_a_member_from_before_the_boot_does_not_keep_root_from_starting(
    pi, folder, caplog
):
    journal = folder / "journal.jsonl"
    journal.write_text(line(pi, {"kind": "attribute", "path": GOVERNOR, "shown": GOVERNOR}, "x"))
    os.chown(journal, MEMBER, MEMBER)
    before_s = pi.boot_time_s() - 60
    os.utime(journal, (before_s, before_s))
    begin_and_end(pi)
    assert pi.kernel.writes == []
    assert f"is now {folder / 'journal.foreign.jsonl'}" in caplog.text
    assert not journal.exists()
    caplog.clear()
    begin_and_end(pi)
    assert caplog.text == ""


def test_second_name_that_goes_while_the_lock_is_opened_is_not_written(pi, folder, monkeypatch):
    victim, lock = folder.parent / "victim", folder / "lock"
    victim.write_text("root's own")
    victim.chmod(0o600)
    real = os.open

    def opened(path, *arguments, **options):
        if str(path) != str(lock):
            return real(path, *arguments, **options)
        os.link(victim, lock)
        descriptor = real(path, *arguments, **options)
        os.unlink(lock)
        return descriptor

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(JournalError, match="no plain file of its own"):
        Session(pi).begin()
    monkeypatch.undo()
    assert victim.read_text() == "root's own"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


@as_root
def test_run_of_root_does_not_lock_the_group_out(pi, folder):
    before = os.umask(0o077)
    try:
        leave_changed(pi.kernel, pi.root)
    finally:
        os.umask(before)
    lock, journal = os.stat(folder / "lock"), os.stat(folder / "journal.jsonl")
    assert (lock.st_gid, stat.S_IMODE(lock.st_mode)) == (MEMBER, 0o660)
    # Read, for the member to give back what it may; written by root alone.
    assert (journal.st_gid, stat.S_IMODE(journal.st_mode)) == (MEMBER, 0o640)
    for parent in folder.parents:
        if str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    os.chmod(pi.kernel.shared.name, 0o755)
    child = os.fork()
    if child == 0:
        os.setgid(MEMBER)
        os.setuid(MEMBER)
        try:
            restored(pi.kernel, pi.root)
        finally:
            os._exit(int((folder / "journal.jsonl").exists()))
    assert os.waitpid(child, 0)[1] == 0


@as_root
def test_user_who_may_read_little_can_take_the_locks(pi, tmp_path):
    """As after setuid, with an interpreter whose folders that user may not read."""
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        if str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    script = (
        "import os, sys\nfrom pathlib import Path\n"
        "from hw.session.journal import Journal\nfrom hw.sysfs import Sysfs\n"
        f"os.setuid({MEMBER})\n"
        "journal = Journal.of_machine(Sysfs(), Path(sys.argv[1]))\n"
        "journal.lock(); journal.unlock(); os.close(Sysfs().open_devtmpfs()); print('had')"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("had\n", "")

"""The journal's folder may be shared by a group, lie on a network or in a container."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading

import pytest

from hw.base import Hold
from hw.boards.linux import LinuxBoard
from hw.errors import BusyError, HardwareError, JournalError
from hw.session import machine_lock
from hw.session.journal import Journal, overlay_under
from hw.session.machine_lock import MachineLock
from hw.session.session import Session, restore_journal
from hw.sysfs import Sysfs
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.test_giving_back import leave_changed, restored

GOVERNOR = "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"
BOOT_ID = "proc/sys/kernel/random/boot_id"
MEMBER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="tries what root does to others' files")


@pytest.fixture
def pi(machine):
    return machine("raspberry-pi-4")


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
            "sys/fs/cgroup/release_agent",
            "sys/class/devfreq/x/../../../kernel/uevent_helper",
            "sys/devices/system/cpu/cpufreq/policy0/../../../../../kernel/uevent_helper",
            "sys/class/devfreq/a/device/driver/unbind",
            "sys/module/kernel/parameters/panic",
            "sys/kernel/debug/bpmp/debug/clk/emc/rate/../../../x",
        )
    ]
    + [
        {"kind": "limits", "minimum": GOVERNOR, "maximum": "sys/kernel/uevent_helper"},
        {"kind": "cgroup", "folder": "sys/fs/cgroup/system.slice", "home": "sys/fs/cgroup"},
        {"kind": "cgroup", "folder": "sys/fs/cgroup/dvfo-1", "home": "sys/kernel"},
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
        "journal = Journal.of_machine(Sysfs(), Path(sys.argv[1]), drives_machine=False)\n"
        "journal.lock(); journal.unlock(); os.close(Sysfs().open_devtmpfs()); print('had')"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("had\n", "")


# Which boot it was


@pytest.mark.parametrize(
    ("later_s", "is_same"), [(0.0, True), (1.0, True), (40.0, False), (86400.0, False)]
)
def test_without_a_boot_id_the_time_of_the_boot_tells_boots_apart(tmp_path, later_s, is_same):
    kernel = BOARDS["raspberry-pi-4"]("new")
    kernel.fails[BOOT_ID] = errno.EACCES
    before = kernel.snapshot()
    leave_changed(kernel, tmp_path)
    changed = kernel.snapshot()
    kernel.boot_time_s += later_s
    assert restored(kernel, tmp_path) == int(is_same)
    assert kernel.snapshot() == (before if is_same else changed)


def test_boot_id_counts_where_both_have_one_however_the_clock_was_set(tmp_path):
    kernel = BOARDS["raspberry-pi-4"]("new")
    before = kernel.snapshot()
    leave_changed(kernel, tmp_path)
    kernel.boot_time_s += 1e9  # a board without a battery learns the date
    assert restored(kernel, tmp_path) == 1
    assert kernel.snapshot() == before


# File systems and containers


def test_file_system_without_locks_is_one_sentence(pi, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(JournalError, match=r"lies on a file system without locks.*local one"):
        Session(pi).begin()
    assert Journal.of_machine(pi).holder() is None


@pytest.mark.parametrize("has_own_network", [False, True])
def test_two_containers_with_two_journals_do_not_drive_one_machine(tmp_path, has_own_network):
    """With a network of its own a container sees another sysfs, but the same devtmpfs."""
    kernel = BOARDS["raspberry-pi-4"]("new")
    folders = [tmp_path / name for name in ("a", "b")]
    one, two = (FakeSysfs(kernel, folder) for folder in folders)
    two.has_own_network = has_own_network
    first = Session(one)
    first.begin()
    with pytest.raises(BusyError, match=r"driven by a process .*, with another journal; stop"):
        Session(two).begin()
    assert Journal.of_machine(two).holder() is not None
    assert not (folders[1] / "var/lib/dvfo/journal.jsonl").exists()
    first.end()
    second = Session(two)
    second.begin()
    second.end()
    assert Journal.of_machine(one).holder() is None


SIDE = "sys/kernel"
"""A folder beside the one that is locked: nobody who drives this machine is to be kept from it."""


class SideLock(MachineLock):
    """The lock of a machine on neighbours of what the real one takes."""

    def _open_all(self):
        yield self._sysfs.open_folder(self._sysfs.path(SIDE))
        devices = self._sysfs.open_devtmpfs()
        try:
            yield os.open("zero", os.O_RDONLY, dir_fd=devices)
        finally:
            os.close(devices)


LOCK = """
from hw.sysfs import Sysfs
from tests.hw.test_journal_trust import BusyError, SideLock
try:
    SideLock(Sysfs()).take()
except BusyError as error:
    print(error)
"""


@as_root
@pytest.mark.parametrize(
    ("namespaces", "sysfs"),
    [(["-m"], "true"), (["-m", "-n", "-p", "-f"], "mount -t sysfs none /sys")],
)
def test_lock_holds_between_real_namespaces(namespaces, sysfs):
    """As in a container: mounts of its own; and a network and processes of its own, too."""
    shell = f'{sysfs} && mount -t tmpfs none /dev && exec "$0" -c "$1"'
    command = ["unshare", *namespaces, "sh", "-c", shell, sys.executable, LOCK]
    lock = SideLock(Sysfs())
    lock.take()
    try:
        held = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        lock.release()
    if "unshare:" in held.stderr or "mount:" in held.stderr:
        pytest.skip(f"this machine makes no namespaces: {held.stderr}")
    assert "driven by" in held.stdout, held.stderr
    free = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (free.stdout, free.stderr) == ("", "")


@as_root
class TwoLocks(MachineLock):
    """The lock of a machine on two files."""

    def __init__(self, *files):
        super().__init__(Sysfs())
        self._files = files

    def _open_all(self):
        for file in self._files:
            yield os.open(file, os.O_RDONLY | os.O_CREAT)


def test_file_without_locks_leaves_the_machines_other_lock(tmp_path, monkeypatch, caplog):
    files = tmp_path / "first", tmp_path / "second"

    def lock(descriptor):
        if os.fstat(descriptor).st_ino == files[0].stat().st_ino:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    monkeypatch.setattr(machine_lock, "lock_alone", lock)
    first = TwoLocks(*files)
    first.take()
    with pytest.raises(BusyError):
        TwoLocks(*files).take()
    first.release()
    assert caplog.text == ""


@pytest.mark.parametrize("n_files", [0, 1])
def test_machine_without_any_lock_is_told_once(tmp_path, monkeypatch, caplog, n_files):
    def lock(_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(machine_lock, "lock_alone", lock)
    TwoLocks(*[tmp_path / "only"][:n_files]).take()
    assert caplog.text.count("are not noticed") == 1


def test_process_without_the_right_to_mount_does_not_try():
    """Under a filter of system calls, as in docs/dvfo.service, it might be killed for that."""
    script = (
        "import hw.devtmpfs as d\n"
        "d._open_by_mount = lambda: 1 / 0\n"
        "import os; os.fstat(d.open_devtmpfs()); print(d._may_mount())"
    )
    dropped = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv here")
    found = subprocess.run(
        [*dropped, sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (found.stdout, found.stderr) == ("False\n", "")


@pytest.mark.parametrize(
    ("mounts", "found"),
    [
        ("1 0 0:1 / / rw - overlay overlay rw", "/"),
        ("1 0 0:1 / / rw - overlay overlay rw\n2 1 8:1 / {0} rw - ext4 /dev/sda rw", None),
        ("1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:9 / {0} rw shared:1 - overlay o rw", "{0}"),
        ("1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:9 / {0}x rw - overlay o rw", None),
        ("garbage", None),
    ],
)
def test_journal_on_an_overlay_is_told(pi, tmp_path, caplog, mounts, found):
    pi.kernel.add({"proc/self/mountinfo": mounts.format(tmp_path)})
    expected = None if found is None else found.format(tmp_path)
    assert overlay_under(pi, Journal.of_machine(pi).folder) == expected
    session = Session(pi)
    session.begin()
    session.end()
    assert ("docker run -v" in caplog.text) is (found is not None)


def test_every_setting_that_a_board_changes_may_be_given_back_by_a_journal(machine, open_linux):
    """What is refused in a journal must be nothing that was put there."""
    for name in BOARDS:
        for hold in Hold:
            sysfs = FakeSysfs(BOARDS[name]("new"), machine(name).root / name / hold.value)
            kernel = sysfs.kernel
            before = kernel.snapshot()
            board = LinuxBoard(sysfs, hold=hold, clock=kernel.clock, sleep=kernel.sleep)
            try:
                board.open()
            except HardwareError:  # no governor "userspace"
                continue
            board.apply({n: d.available_hz[0] for n, d in board.domains.items()})
            board._session._journal.unlock()
            board._session._saved.clear()
            board.close()
            journal = Journal.of_machine(sysfs)
            journal.lock()
            assert restore_journal(sysfs, journal) > 0
            journal.unlock()
            assert kernel.snapshot() == before, (name, hold)

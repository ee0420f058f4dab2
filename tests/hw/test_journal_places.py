"""The journal may be of another boot, lie on a network or in a container."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys

import pytest

from hw.base import Hold
from hw.boards.linux import LinuxBoard
from hw.errors import BusyError, HardwareError, JournalError
from hw.session import machine_lock
from hw.session.journal import Journal, overlay_under
from hw.session.machine_lock import MachineLock
from hw.session.session import Session, restore_journal
from hw.sysfs import Sysfs
from tests.hw.changed import leave_changed, restored
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS

BOOT_ID = "proc/sys/kernel/random/boot_id"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="tries what root does to others' files")


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
from tests.hw.test_journal_places import BusyError, SideLock
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

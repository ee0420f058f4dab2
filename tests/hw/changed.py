"""A machine that was left changed, and what the journal gives back of it."""

from __future__ import annotations

import os
import signal

from hw.base import Hold
from hw.boards.linux import LinuxBoard
from hw.session.journal import Journal
from hw.session.session import restore_journal
from tests.hw.fake.access import FakeSysfs, run_child


def restored(kernel, root) -> int:
    journal = Journal.of_machine(FakeSysfs(kernel, root))
    journal.lock()
    try:
        return restore_journal(FakeSysfs(kernel, root), journal)
    finally:
        journal.unlock()


def leave_changed(kernel, root, hold: Hold = Hold.PIN) -> None:
    """A controller that is killed while all clocks are low."""

    def drive(sysfs):
        with LinuxBoard(sysfs, hold=hold, clock=sysfs.clock, sleep=sysfs.sleep) as board:
            board.apply({n: d.available_hz[0] for n, d in board.domains.items()})
            os.kill(os.getpid(), signal.SIGKILL)

    assert run_child(kernel, root, drive).was_killed

"""One process driving one machine: every change is saved first and undone at the end."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from hw.errors import HardwareError, JournalError
from hw.session.factory import setting_from
from hw.session.journal import Journal, overlay_under
from hw.session.restoring import RestoreOutcome, SavedSetting, is_doubtful, restore_all
from hw.session.signals import end_on_signals, signals_wait
from hw.settings.power_mode import CONF, PowerModes
from hw.settings.settings import LimitPair, Limits, Setting, Value
from hw.sysfs import Sysfs

logger = logging.getLogger(__name__)

_begun: weakref.WeakSet[Session] = weakref.WeakSet()
"""Sessions that hold the locks, for the children that are forked meanwhile."""


class Session:
    """What this process has changed on a machine.

    `begin` takes the machine's lock and first restores what a killed process left behind; `end`
    restores everything, last first. A process that exits without `end`, or by a signal that nothing
    else handles, ends its session on the way. A forked child does not: the machine stays its
    parent's.

    Args:
        sysfs: access to the kernel's files.
        folder: of the journal; /var/lib/dvfo if not given.
    """

    def __init__(self, sysfs: Sysfs, folder: Path | None = None) -> None:
        self._sysfs = sysfs
        self._journal = Journal.of_machine(sysfs, folder)
        self._power_modes = PowerModes(sysfs)
        self._saved: dict[str, SavedSetting] = {}
        self._owed: dict[str, SavedSetting] = {}
        self._looks: list[Callable[[], None]] = []
        self._process = os.getpid()
        self._turn = threading.RLock()

    def begin(self) -> None:
        """Become the one process that drives the machine.

        Raises:
            BusyError: another process does.
            HardwareError: the journal cannot be read, or belongs to another user.
        """
        self._process = os.getpid()
        self._journal.lock()
        try:
            outcome, _, problems = _replay(self._sysfs, self._journal)
        except BaseException:
            self._journal.unlock()
            raise
        self._owed = {saved.setting.key: saved for saved in outcome.owed}
        if problems:
            # A controller that does not start mends nothing, and leaves a robot standing.
            logger.warning("%s; tried again at the end, and by python -m hw.restore", problems)
        overlay = overlay_under(self._sysfs, self._journal.folder)
        if overlay is not None:
            logger.warning(
                "%s lies on an overlay at %s, as in a container: with the container goes what the "
                "clocks were before; give it the host's folder: docker run -v %s:%s",
                *(self._journal.folder, overlay, self._journal.folder, self._journal.folder),
            )
        atexit.register(self._end_at_exit)
        _begun.add(self)
        end_on_signals()

    def knows(self, setting: Setting) -> bool:
        """Whether a setting was saved already.

        Raises:
            JournalError: this process was forked from the one that drives the machine.
        """
        if os.getpid() != self._process:
            raise JournalError(
                f"process {os.getpid()} was forked from {self._process}, which drives this machine "
                "and gives it back; set clocks there, or open a board of your own after that ended"
            )
        return setting.key in self._saved

    def owed(self, setting: Setting) -> Value | None:
        """What a process before this one could not put back; None if nothing."""
        saved = self._owed.get(setting.key)
        if saved is None or is_doubtful(saved, self._power_modes.current(), self._power_modes):
            return None
        return saved.value

    def save(self, setting: Setting, value: Value | None = None) -> None:
        """Save what `end` puts back, on disk when this returns; again to put back something else.

        Args:
            setting: about to be changed.
            value: to put back; what is in force if not given, or what is owed.

        Raises:
            JournalError: it could not be saved, so the setting must not be changed.
        """
        self.knows(setting)
        if value is None:
            value = self.owed(setting)
        value = setting.read() if value is None else value
        saved, before = SavedSetting(setting, value, self._power_modes.current()), dict(self._saved)
        # Known before it is written: a signal in between must not leave a line without an owner.
        self._saved[setting.key] = saved
        try:
            self._journal.append(saved.entry)
        except HardwareError:
            self._saved = before
            raise
        self._owed.pop(setting.key, None)

    def before_end(self, look: Callable[[], None]) -> None:
        """Call a hook before all is put back, which may save what others set since."""
        self._looks.append(look)

    def end(self) -> None:
        """Put everything back, last first, and let others drive the machine.

        Signals that would end the process meanwhile do so afterwards.

        Raises:
            HardwareError: names everything that could not be restored; the journal keeps it then.
        """
        with signals_wait():
            self._end()

    def give_back(self) -> None:
        """Put everything back, last first, and go on: whatever is changed later is saved anew.

        The lock stays. Where this process is killed meanwhile, there is nothing to restore.

        Raises:
            HardwareError: names everything that could not be restored; it is tried again at the
                end, and the journal keeps it until then.
        """
        with signals_wait(), self._turn:
            self._look_last()
            if not self._saved:
                return
            outcome = restore_all(self._taken_out(), self._power_modes)
            self._owed = {item.setting.key: item for item in outcome.owed}
            self._finish(outcome)

    def leave_to_parent(self) -> None:
        """Let go of the locks in a forked child, which would outlive its parent with them."""
        self._journal.let_go()

    def _end_at_exit(self) -> None:
        """The process ends anyway, so signals that come meanwhile have nothing to add."""
        with signals_wait(then_deliver=False):
            self._end()

    def _end(self) -> None:
        with self._turn:  # an exit waits until another thread has given the machine back
            atexit.unregister(self._end_at_exit)
            self._look_last()
            saved = self._taken_out()
            try:
                if saved:
                    self._finish(restore_all(saved, self._power_modes))
            finally:
                _begun.discard(self)
                self._journal.unlock()

    def _taken_out(self) -> list[SavedSetting]:
        """All that is to be put back, and forgotten here; nothing where nothing was changed."""
        saved = [*self._owed.values(), *self._saved.values()]
        has_changed = bool(self._saved) and os.getpid() == self._process
        self._owed, self._saved = {}, {}
        return saved if has_changed else []

    def _finish(self, outcome: RestoreOutcome) -> None:
        problems = _finish(outcome, [], self._journal)
        if problems:
            raise HardwareError(problems)

    def _look_last(self) -> None:
        looks, self._looks = self._looks, []
        if not self._saved or os.getpid() != self._process:
            return
        for look in looks:
            try:
                look()
            except HardwareError as error:
                logger.info("what others set since the last step is not known: %s", error)


def restore_journal(sysfs: Sysfs, journal: Journal) -> int:
    """Put back what a journal says, last first; its lock must be held.

    Settings whose node is gone or offline are reported and stay in the journal.

    Returns:
        How many settings were put back.

    Raises:
        HardwareError: names everything that could not be restored; the journal keeps it then, and
            one with damaged lines is copied aside.
    """
    outcome, n_entries, problems = _replay(sysfs, journal)
    if problems:
        raise HardwareError(problems)
    return n_entries - len(outcome.owed)


def _replay(sysfs: Sysfs, journal: Journal) -> tuple[RestoreOutcome, int, str]:
    """What became of a journal, how many settings it had, and what went wrong, in words."""
    content = journal.read()
    saved, damaged = [], list(content.damaged)
    for entry in content.entries:
        try:
            setting = setting_from(sysfs, entry.setting)
            if isinstance(setting, LimitPair):
                Limits.of(entry.saved)
            saved.append(SavedSetting(setting, entry.saved, entry.power_mode))
        except JournalError as error:
            damaged.append(str(error))
    if saved:
        logger.warning("giving back %d settings of a process that was killed", len(saved))
    outcome = restore_all(saved, PowerModes(sysfs))
    if damaged:
        try:
            damaged.append(f"the journal is kept as {journal.copy_aside()}")
        except HardwareError as error:
            damaged.append(f"the journal could not be kept aside: {error}")
    return outcome, len(saved), _finish(outcome, damaged, journal)


def _finish(outcome: RestoreOutcome, problems: list[str], journal: Journal) -> str:
    """Keep in the journal what was not put back, and report it; what went wrong, in words."""
    problems = [*outcome.reasons, *problems]
    try:
        journal.keep([item.entry for item in outcome.owed])
    except HardwareError as error:
        problems.append(str(error))
    for item in outcome.absent:
        logger.warning(
            "%s is gone or offline and cannot be put back; that stays in %s until it returns with "
            "its driver (then by the next start or python -m hw.restore) or the machine boots",
            *(item.setting.key, journal.path),
        )
    for item in outcome.doubtful:
        logger.warning(
            "%s stays as it is: another power mode was chosen since, and /%s does not say what it "
            "sets; choose a mode again (nvpmodel -m), what was there before stays in %s",
            *(item.setting.key, CONF, journal.path),
        )
    return f"could not restore everything: {'; '.join(problems)}" if problems else ""


def _leave_to_parent() -> None:
    for session in list(_begun):
        session.leave_to_parent()


os.register_at_fork(after_in_child=_leave_to_parent)

"""One process driving one machine: every change is saved first and undone at the end."""

from __future__ import annotations

import atexit
import logging
import signal
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from hw.errors import CappedError, HardwareError, JournalError
from hw.power_mode import PowerModes
from hw.session.factory import setting_from
from hw.session.journal import Entry, Journal
from hw.session.settings import Setting, Value
from hw.sysfs import Sysfs

logger = logging.getLogger(__name__)

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Signals that by default end a process without a word; SIGINT raises KeyboardInterrupt anyway."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A setting with what is to be put back.

    Attributes:
        setting: to restore.
        value: to put back.
        power_mode: nvpmodel's mode when it was saved.
    """

    setting: Setting
    value: Value
    power_mode: str | None


class Session:
    """What this process has changed on a machine.

    `begin` takes the machine's lock and first restores what a killed process left behind; `end`
    restores everything, last first. A process that exits without `end`, or by SIGTERM or SIGHUP
    where nobody else handles them, ends its session on the way.

    Args:
        sysfs: access to the kernel's files.
        folder: of the journal; /var/lib/dvfo if not given.
    """

    def __init__(self, sysfs: Sysfs, folder: Path | None = None) -> None:
        self._sysfs = sysfs
        self._journal = Journal.of_machine(sysfs, folder)
        self._power_modes = PowerModes(sysfs)
        self._saved: dict[str, Saved] = {}

    def begin(self) -> None:
        """Become the one process that drives the machine.

        Raises:
            BusyError: another process does.
            HardwareError: what a killed process left behind could not be restored.
        """
        self._journal.lock()
        try:
            restore_journal(self._sysfs, self._journal)
        except HardwareError:
            self._journal.unlock()
            raise
        atexit.register(self.end)
        _end_on_signals()

    def knows(self, setting: Setting) -> bool:
        """Whether a setting was saved already."""
        return setting.key in self._saved

    def save(self, setting: Setting, value: Value | None = None) -> None:
        """Save what `end` puts back, on disk when this returns; again to put back something else.

        Args:
            setting: about to be changed.
            value: to put back; what is in force if not given.

        Raises:
            JournalError: it could not be saved, so the setting must not be changed.
        """
        value = setting.read() if value is None else value
        saved = Saved(setting, value, self._power_modes.current())
        self._journal.append(Entry(setting.document(), value, saved.power_mode))
        self._saved[setting.key] = saved

    def end(self) -> None:
        """Put everything back, last first, and let others drive the machine.

        Raises:
            HardwareError: names everything that could not be restored; the journal stays then.
        """
        atexit.unregister(self.end)
        saved = list(self._saved.values())
        self._saved.clear()
        try:
            if saved:
                _raise_if(_restore(saved, self._power_modes))
                self._journal.clear()
        finally:
            self._journal.unlock()


def restore_journal(sysfs: Sysfs, journal: Journal) -> int:
    """Put back what a journal says, last first; its lock must be held.

    Returns:
        How many settings it named.

    Raises:
        HardwareError: names everything that could not be restored; the journal stays then, and
            one with damaged lines is set aside once the rest was put back.
    """
    content = journal.read()
    saved, damaged = [], list(content.damaged)
    for entry in content.entries:
        try:
            setting = setting_from(sysfs, entry.setting)
            saved.append(Saved(setting, entry.saved, entry.power_mode))
        except JournalError as error:
            damaged.append(str(error))
    if saved:
        logger.warning("giving back %d settings of a process that was killed", len(saved))
    failures = _restore(saved, PowerModes(sysfs))
    if damaged:
        damaged.append(f"the journal is kept as {journal.set_aside()}")
    elif not failures:
        journal.clear()
    _raise_if(failures + damaged)
    return len(saved)


def _restore(saved: Iterable[Saved], power_modes: PowerModes) -> list[str]:
    """Put settings back, last first, going on after failures; returns those in words."""
    failures = []
    mode = power_modes.current()
    for item in reversed(list(saved)):
        if item.power_mode != mode:
            # nvpmodel has written all limits since; what was saved belongs to another mode.
            logger.warning("%s keeps what the new power mode set", item.setting.key)
            continue
        try:
            item.setting.restore(item.value)
        except CappedError as error:
            logger.warning("%s", error)
        except HardwareError as error:
            failures.append(str(error))
    return failures


def _raise_if(failures: list[str]) -> None:
    if failures:
        raise HardwareError(f"could not restore everything: {'; '.join(failures)}")


def _end_on_signals() -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may; the journal covers the rest
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _exit)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)

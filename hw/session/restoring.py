"""Restoring of settings: last first, again where the kernel refuses, and on after a failure."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hw.errors import CappedError, HardwareError
from hw.session.journal import JournalEntry
from hw.settings.known import is_emc_cap
from hw.settings.power_mode import PowerModes
from hw.settings.settings import Attribute, LimitPair, Limits, Setting, Value

logger = logging.getLogger(__name__)

RETRIES_S = (0.05, 0.15, 0.3)
"""Waits between attempts: a bus or a driver that answers EIO or EBUSY once is free again by then,
and a process that is told to end has some seconds."""
LOOK_AGAIN_S = 0.05
"""nvpmodel rewrites its status at each change, and it is empty for an instant."""


@dataclass(frozen=True, slots=True)
class SavedSetting:
    """A setting with what is to be put back.

    Attributes:
        setting: to restore.
        value: to put back.
        power_mode: nvpmodel's mode when it was saved; None where there is none, or if it was not
            reported.
    """

    setting: Setting
    value: Value
    power_mode: str | None

    @property
    def entry(self) -> JournalEntry:
        """It as a line of the journal."""
        return JournalEntry(self.setting.document(), self.value, self.power_mode)


@dataclass
class RestoreOutcome:
    """What became of settings that were to be put back.

    Attributes:
        failed: with the reason in words; they are as another program left them.
        absent: their node is gone or offline.
        doubtful: limits under a power mode that the configuration does not know.
    """

    failed: list[tuple[SavedSetting, str]] = field(default_factory=list)
    absent: list[SavedSetting] = field(default_factory=list)
    doubtful: list[SavedSetting] = field(default_factory=list)

    @property
    def owed(self) -> list[SavedSetting]:
        """All that is still to be put back."""
        return [*self.absent, *self.doubtful, *(saved for saved, _ in self.failed)]

    @property
    def reasons(self) -> list[str]:
        """Why settings failed."""
        return [reason for _, reason in self.failed]


def restore_all(saved: Sequence[SavedSetting], power_modes: PowerModes) -> RestoreOutcome:
    """Put settings back, last first; what fails is tried again after all others.

    Where another power mode was chosen since, the files that it sets get what it set, for what was
    saved belongs to another mode, and what stands there may be what this process wrote later. What
    a mode sets that the configuration does not know is unknown: limits then stay as they are.
    """
    outcome = RestoreOutcome()
    mode = _mode_now(saved, power_modes)
    left = list(reversed(saved))
    for wait_s in (*RETRIES_S, None):
        outcome.failed.clear()
        for item in left:
            try:
                if item.setting.is_absent():
                    outcome.absent.append(_under(mode, item, power_modes))
                elif is_doubtful(item, mode, power_modes) and _differs(item):
                    outcome.doubtful.append(item)
                else:
                    _restore_one(item, mode, power_modes)
            except CappedError as error:
                logger.warning("%s", error)
            except HardwareError as error:
                if item.setting.is_absent():  # since a moment
                    outcome.absent.append(_under(mode, item, power_modes))
                else:
                    outcome.failed.append((item, str(error)))
        left = [item for item, _ in outcome.failed]
        if not left or wait_s is None:
            break
        time.sleep(wait_s)
    outcome.failed.reverse()
    outcome.absent.reverse()
    outcome.doubtful.reverse()
    return outcome


def is_doubtful(item: SavedSetting, mode: str | None, power_modes: PowerModes) -> bool:
    """Whether a power mode may have set limits since, and the configuration does not know it."""
    if mode is None or item.power_mode in (None, mode) or power_modes.knows(mode):
        return False
    return isinstance(item.setting, LimitPair) or is_emc_cap(item.setting.files)


def _differs(item: SavedSetting) -> bool:
    found = item.setting.read()
    return found != (Limits.of(item.value) if isinstance(item.setting, LimitPair) else item.value)


def _restore_one(item: SavedSetting, mode: str | None, power_modes: PowerModes) -> None:
    setting = item.setting
    if mode is None or item.power_mode in (None, mode):
        setting.restore(item.value)
        return
    of_mode = {f: power_modes.sets(mode, f) for f in setting.files if power_modes.writes(mode, f)}
    if not of_mode:
        setting.restore(item.value)
        return
    for file in sorted(of_mode):
        logger.warning("%s gets what the new power mode set", file)
    if isinstance(setting, LimitPair):
        _restore_under_mode(setting, Limits.of(item.value), of_mode)
    elif isinstance(setting, Attribute) and (text := of_mode[setting.path]) is not None:
        setting.write(text)  # as nvpmodel does, which may be shown otherwise


def _restore_under_mode(
    setting: LimitPair, saved: Limits, of_mode: Mapping[Path, str | None]
) -> None:
    """Limits of which one or both are the new mode's."""
    now, (minimum, maximum) = setting.read(), setting.files
    ends = {minimum: (saved.raw_min, now.raw_min), maximum: (saved.raw_max, now.raw_max)}
    low, high = (
        _end(of_mode[file], present) if file in of_mode else before
        for file, (before, present) in ends.items()
    )
    # The mode's end counts where the two do not go together.
    limits = Limits(min(low, high), high) if maximum in of_mode else Limits(low, max(low, high))
    setting.restore([*limits])


def _end(text: str | None, present: int) -> int:
    """A limit as a mode sets it; what stands there now where that is no number."""
    return int(text) if text is not None and text.isdigit() else present


def _under(mode: str | None, item: SavedSetting, power_modes: PowerModes) -> SavedSetting:
    """What is to be put back later of something that is absent under another power mode.

    The mode could not set it. If it returns under this mode it gets back what it had, as far as the
    mode allows; another mode sets it on its way.
    """
    if mode is None or item.power_mode in (None, mode) or is_doubtful(item, mode, power_modes):
        return item
    value = item.value
    if isinstance(item.setting, LimitPair):
        low, high = Limits.of(value)
        limit = power_modes.limit(item.setting.files[1])
        high = high if limit is None else min(high, limit)
        value = [min(low, high), high]
    return replace(item, value=value, power_mode=mode)


def _mode_now(saved: Sequence[SavedSetting], power_modes: PowerModes) -> str | None:
    """The mode in force; None where there is none, or if it is not reported even after a moment."""
    mode = power_modes.current()
    if mode is None and any(item.power_mode is not None for item in saved):
        time.sleep(LOOK_AGAIN_S)
        mode = power_modes.current()
        if mode is None:
            logger.warning(
                "nvpmodel does not say which power mode is in force, so all clocks get back the "
                "limits they had; if you chose another mode since, choose it again"
            )
    return mode

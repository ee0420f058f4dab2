"""Settings from their descriptions in a journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hw.errors import JournalError
from hw.nvidia.locked_range import LockedRange
from hw.settings.settings import Attribute, LimitPair, Setting
from hw.sysfs import Sysfs

_KINDS: dict[str, Callable[[Sysfs, Mapping[str, str]], Setting]] = {
    LimitPair.kind: LimitPair.from_document,
    Attribute.kind: Attribute.from_document,
    LockedRange.kind: LockedRange.from_document,
}


def setting_from(sysfs: Sysfs, document: Mapping[str, str]) -> Setting:
    """Rebuild a setting from its description.

    Raises:
        JournalError: it is no description, or names a file outside /sys.
    """
    try:
        return _KINDS[document["kind"]](sysfs, document)
    except (KeyError, TypeError, AttributeError):
        raise JournalError(f"{document!r} describes no setting; the journal is damaged") from None

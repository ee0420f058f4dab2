"""The governor "userspace", which holds the clock that is written to it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from hw.clocks.context import ClockContext
from hw.errors import HoldUnsupportedError, ImplausibleReadingError
from hw.settings.settings import Attribute

USERSPACE = "userspace"


class UserspaceGovernor:
    """A clock's governor while "userspace" holds it.

    Args:
        context: what all domains share.
        governor: file of the governor's name.
        governors: file of the names that it may have.

    Raises:
        HoldUnsupportedError: the kernel does not offer it.
    """

    def __init__(self, context: ClockContext, governor: Path, governors: Path) -> None:
        self._context = context
        self._governors = governors
        self._attribute = Attribute(context.sysfs, governor)
        self._seen = ""
        if USERSPACE not in self._offered():
            raise HoldUnsupportedError(
                f"{governors} does not offer {USERSPACE!r}; load its module, or hold by cap or pin"
            )

    def take_over(self) -> None:
        """Choose it, after what was in force is saved."""
        changes = self._context.changes
        if not changes.knows(self._attribute):
            check_text(self._attribute, self._offered())
            changes.save(self._attribute)
        if self._seen != USERSPACE:
            self._attribute.write(USERSPACE)
            self._seen = USERSPACE

    def forget(self) -> None:
        """Begin anew: the governor that was found has been put back."""
        self._seen = ""

    def has_rival(self) -> bool:
        """Whether another program has chosen another one since it was last looked at."""
        return bool(self._seen) and self._attribute.read() != self._seen

    def save_rivals(self) -> None:
        """Save what another program has chosen, which is put back at the end."""
        if self.has_rival():
            check_text(self._attribute, self._offered())
            self._seen = self._attribute.read()
            if self._seen != USERSPACE:
                self._context.changes.save(self._attribute, self._seen)

    def come_back(self) -> None:
        """Processors are online again; some drivers have forgotten the governor meanwhile."""
        if self._seen == USERSPACE and self.has_rival():
            self._attribute.write(USERSPACE)

    def _offered(self) -> list[str]:
        return self._context.sysfs.read_text(self._governors).split()


def check_text(attribute: Attribute, possible: Collection[str]) -> None:
    """Refuse to save what could never be put back.

    Raises:
        ImplausibleReadingError: the attribute shows something else than it can be set to.
    """
    text = attribute.read()
    if text not in possible:
        raise ImplausibleReadingError(
            f"{attribute.path} shows {text[:40]!r} instead of one of {', '.join(possible)}; check "
            "its driver"
        )

"""Things of a machine that can be saved, written and put back, by this process or by a later one.

A setting knows how to describe itself in a journal, so that any finder of the journal can restore
it without knowing which backend changed it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from hw.errors import CappedError, FrequencyRejectedError, HardwareError, JournalError
from hw.settings.known import known_file
from hw.sysfs import Sysfs

PROCESSORS = "affected_cpus"
"""File of a cpufreq policy that lists which of its processors are online."""
SETTLE_S = 0.1
LOOK_AGAIN_S = 0.001

Value: TypeAlias = "int | str | list[int] | Limits"
"""What a journal can hold."""


class Setting(Protocol):
    """Something that can be put back."""

    @property
    def key(self) -> str:
        """Name that no other setting has."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that restoring writes, as far as other programs may set them."""

    def read(self) -> Value:
        """Read what is in force."""

    def is_absent(self) -> bool:
        """Whether its node went away, or is offline: it cannot be put back until it returns."""

    def restore(self, value: Value) -> None:
        """Put a saved value back and verify it by reading.

        Raises:
            HardwareError: refused, or something else was read back.
        """

    def document(self) -> dict[str, str]:
        """Describe it for a journal."""


class Changes(Protocol):
    """Where settings are saved before they are changed."""

    def knows(self, setting: Setting) -> bool:
        """Whether a setting was saved already."""

    def owed(self, setting: Setting) -> Value | None:
        """What a process before this one could not put back; None if nothing."""

    def save(self, setting: Setting, value: Value | None = None) -> None:
        """Save what is put back at the end; again to put back something else."""

    def before_end(self, look: Callable[[], None]) -> None:
        """Call a hook before all is put back, which may save what others set since."""


class Limits(NamedTuple):
    """Lowest and highest clock that a domain may run at, in the unit of its files."""

    raw_min: int
    raw_max: int

    @classmethod
    def of(cls, value: Value) -> Limits:
        """Limits as a journal holds them.

        Raises:
            JournalError: it holds something else.
        """
        if isinstance(value, list | tuple) and len(value) == len(cls._fields):
            low, high = value
            if isinstance(low, int) and isinstance(high, int):
                return cls(low, high)
        raise JournalError(f"{value!r} is not two whole numbers; the journal is damaged")


class LimitPair:
    """The two files that bound a clock.

    Raising starts with the maximum, lowering with the minimum, so that minimum <= maximum holds all
    the time: old kernels refuse (EINVAL) what new ones accept and override.

    Args:
        sysfs: access to the kernel's files.
        minimum: file of the lower limit.
        maximum: file of the upper limit.
    """

    kind = "limits"

    def __init__(self, sysfs: Sysfs, minimum: Path, maximum: Path) -> None:
        self._sysfs = sysfs
        self._minimum, self._maximum = minimum, maximum
        self.files = (minimum, maximum)
        self.key = str(maximum)

    def read(self) -> Limits:
        """Read the limits in force: with a thermal cap, less than was asked for."""
        return Limits(self._sysfs.read_int(self._minimum), self._sysfs.read_int(self._maximum))

    def write(self, wanted: Limits, asked: Limits | None = None) -> None:
        """Write what differs from what was asked for last.

        What is shown does not count: a cap may hide what was asked for.

        Args:
            wanted: limits to ask for.
            asked: limits that were asked for last, if that is known.

        Raises:
            FrequencyRejectedError: refused in either order.
        """
        writes = []
        if asked is None or wanted.raw_min != asked.raw_min:
            writes.append((self._minimum, wanted.raw_min))
        if asked is None or wanted.raw_max != asked.raw_max:
            writes.append((self._maximum, wanted.raw_max))
        if wanted.raw_min > self.read().raw_max:
            writes.reverse()
        try:
            self._write_in_order(writes)
        except FrequencyRejectedError:
            # Where a cap hides what was asked for earlier, the order was a guess.
            self._write_in_order(writes[::-1])

    def is_absent(self) -> bool:
        """Whether the clock went away, or its processors are offline."""
        return _is_absent(self._sysfs, self._maximum)

    def restore(self, value: Value) -> None:
        """Put both limits back.

        Raises:
            CappedError: both are asked for again, but something holds the clock lower for now.
            FrequencyRejectedError: refused, or other limits were read back.
        """
        wanted = Limits.of(value)
        self.write(wanted)
        found = self._settled(wanted)
        if found == wanted:
            return
        message = (
            f"{self._maximum.parent} reports {found.raw_min} to {found.raw_max} instead of "
            f"{wanted.raw_min} to {wanted.raw_max}"
        )
        if found.raw_max < wanted.raw_max and found.raw_min <= wanted.raw_min:
            raise CappedError(f"{message}; it returns when whatever caps it lets go")
        raise FrequencyRejectedError(f"{message}; write these by hand")

    @classmethod
    def from_document(cls, sysfs: Sysfs, document: Mapping[str, str]) -> LimitPair:
        """Rebuild it from its description.

        Raises:
            JournalError: a file that is none of a clock's limits.
        """
        minimum, maximum = (
            known_file(sysfs, cls.kind, document[end]) for end in ("minimum", "maximum")
        )
        return cls(sysfs, minimum, maximum)

    def document(self) -> dict[str, str]:
        """Describe both files."""
        return {
            "kind": self.kind,
            "minimum": relative(self._sysfs, self._minimum),
            "maximum": relative(self._sysfs, self._maximum),
        }

    def _settled(self, wanted: Limits) -> Limits:
        """Limits once the kernel has acted: cpufreq does so in a worker, after the write."""
        end_s = time.monotonic() + SETTLE_S
        while (found := self.read()) != wanted and time.monotonic() < end_s:
            time.sleep(LOOK_AGAIN_S)
        return found

    def _write_in_order(self, writes: list[tuple[Path, int]]) -> None:
        for path, raw in writes:
            self._sysfs.write_text(path, str(raw))


class Attribute:
    """One file whose text is the setting.

    Args:
        sysfs: access to the kernel's files.
        path: the file that is written.
        shown: the file that shows what is in force, where that is another one.
    """

    kind = "attribute"

    def __init__(self, sysfs: Sysfs, path: Path, shown: Path | None = None) -> None:
        self._sysfs = sysfs
        self.path = path
        self.shown = shown or path
        self.files = (path,)
        self.key = str(path)

    def read(self) -> str:
        """Read the text in force."""
        return self._sysfs.read_text(self.shown)

    def write(self, value: str) -> None:
        """Write a text.

        Raises:
            FrequencyRejectedError: refused.
        """
        self._sysfs.write_text(self.path, value)

    def is_absent(self) -> bool:
        """Whether the node went away, or its processors are offline."""
        return _is_absent(self._sysfs, self.path)

    def restore(self, value: Value) -> None:
        """Put a text back, unless it is in force already.

        Raises:
            CappedError: it is a number, and something holds it lower for now.
            FrequencyRejectedError: refused, or another text was read back.
        """
        wanted = str(value)
        if self.read() == wanted:
            return
        self.write(wanted)
        found = self.read()
        if found == wanted:
            return
        message = f"{self.path} reports {found!r} instead of {wanted!r}"
        if found.isdigit() and wanted.isdigit() and int(found) < int(wanted) and int(found) > 1:
            raise CappedError(f"{message}; it returns when whatever caps it lets go")
        raise FrequencyRejectedError(f"{message}; write it by hand")

    @classmethod
    def from_document(cls, sysfs: Sysfs, document: Mapping[str, str]) -> Attribute:
        """Rebuild it from its description.

        Raises:
            JournalError: a file that no clock is set by.
        """
        path, shown = (known_file(sysfs, cls.kind, document[end]) for end in ("path", "shown"))
        return cls(sysfs, path, shown)

    def document(self) -> dict[str, str]:
        """Describe the file."""
        return {
            "kind": self.kind,
            "path": relative(self._sysfs, self.path),
            "shown": relative(self._sysfs, self.shown),
        }


def relative(sysfs: Sysfs, path: Path) -> str:
    """A path as a journal names it."""
    return str(path.relative_to(sysfs.root))


def _is_absent(sysfs: Sysfs, file: Path) -> bool:
    """Whether a setting's node went away, or is of processors that are offline."""
    if not sysfs.exists(file):
        return True
    processors = file.parent / PROCESSORS
    if not sysfs.exists(processors):
        return False
    try:
        return not sysfs.read_text(processors)
    except HardwareError:  # since Linux 5.19 all files of an offline policy are busy
        return True

"""What is behind a path: a text, a stored value, or functions that show and store."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection


class Attribute:
    """One file of the kernel.

    Attributes:
        writable: by its mode bits.
        volatile: changes by itself, as a clock's present frequency does.
    """

    writable = False
    volatile = False

    def read(self) -> str:
        """The text with its line end."""
        raise NotImplementedError

    def write(self, value: str) -> None:
        """Take a value, or raise OSError."""
        raise NotImplementedError


class Text(Attribute):
    """A read-only text that tests may change; device tree texts end with a zero instead of a line.

    Args:
        value: text without its end.
        end: what follows it.
    """

    def __init__(self, value: str, end: str = "\n") -> None:
        self.value = value
        self._end = end

    def read(self) -> str:
        """The text."""
        return self.value + self._end


class Stored(Text):
    """A value that is kept as written, if it is one of the choices.

    Args:
        value: at first.
        choices: what is accepted; everything if not given.
    """

    writable = True

    def __init__(self, value: str | int, choices: Collection[str] | None = None) -> None:
        super().__init__(str(value))
        self._choices = choices

    def write(self, value: str) -> None:
        """Keep the value."""
        word = value.strip()
        if self._choices is not None and word not in self._choices:
            raise invalid()
        self.value = word


class Computed(Attribute):
    """Functions instead of a value.

    Args:
        show: returns what is read, without the line end.
        store: takes what is written; read-only if not given.
        volatile: changes by itself.
    """

    def __init__(
        self,
        show: Callable[[], object],
        store: Callable[[str], None] | None = None,
        *,
        volatile: bool = False,
    ) -> None:
        self._show = show
        self._store = store
        self.writable = store is not None
        self.volatile = volatile

    def read(self) -> str:
        """What `show` returns now."""
        return f"{self._show()}\n"

    def write(self, value: str) -> None:
        """Hand the value to `store`."""
        assert self._store is not None
        self._store(value)


def invalid() -> OSError:
    """The kernel's most frequent answer to a bad value."""
    return OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def scan_number(value: str) -> int:
    """A number as sscanf("%u") takes it: whatever follows the digits is ignored."""
    text = value.lstrip()
    digits = text[: len(text) - len(text.lstrip("0123456789"))]
    if not digits:
        raise invalid()
    return int(digits)


def strict_number(value: str, bits: int = 31) -> int:
    """A number as kstrtouint(…, 0, …) takes it: nothing may follow it but one line end."""
    text = value.removesuffix("\n").removeprefix("+")
    if not text.isascii() or "_" in text or not text[:1].isdigit():
        raise invalid()
    octal = len(text) > 1 and text[0] == "0" and text.isdigit()
    try:
        number = int(text, 8 if octal else 0)
    except ValueError:
        raise invalid() from None
    if number >= 1 << bits:
        raise invalid()
    return number


def first_word(value: str, limit: int = 15) -> str:
    """A word as sscanf("%15s") takes it."""
    words = value.split()
    if not words:
        raise invalid()
    return words[0][:limit]


class Lagged:
    """A value that follows its target some time later.

    Args:
        clock: present time, s.
        lag_s: from a new target until the value has followed.
    """

    def __init__(self, clock: Callable[[], float], lag_s: float = 0.0) -> None:
        self._clock = clock
        self.lag_s = lag_s
        self._value: int | None = None
        self._target = 0
        self._due_s = 0.0

    def follow(self, target: int) -> int:
        """Say what the target is now; return the value now."""
        now_s = self._clock()
        if self._value is None:  # as it was before the test began
            self._value = self._target = target
        if now_s >= self._due_s:
            self._value = self._target
        if target != self._target:
            self._target, self._due_s = target, now_s + self.lag_s
            if self.lag_s <= 0:
                self._value = target
        return self._value

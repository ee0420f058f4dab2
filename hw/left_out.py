"""Omission of what cannot be read: left out and named, after a few tries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from hw.errors import HardwareError, SensorReadError
from hw.sysfs import Sysfs

TRIES = 4
AGAIN_S = 0.03
"""Faults of an I2C bus that were seen in the field lasted some 60 ms."""
AnswerT = TypeVar("AnswerT")


@contextmanager
def leaving_out(unread: list[str]) -> Iterator[None]:
    """Leave out what fails inside, and add what went wrong in words, each once."""
    try:
        yield
    except HardwareError as error:
        _add(unread, str(error))


@dataclass(slots=True)
class Search:
    """A search for sensors, which asks again before it goes on without one.

    Attributes:
        unread: what cannot be read, in words with the remedy.
        silent: names of the rails that are there and cannot be read.
        nameless: rails that are there, and whose names cannot be read, in words.
        sleep: waits for a number of seconds.
    """

    unread: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    nameless: list[str] = field(default_factory=list)
    sleep: Callable[[float], object] = time.sleep

    def ask(self, read: Callable[[], AnswerT]) -> AnswerT:
        """Answer of what may fail for a moment; what is lost in a search is lost for good.

        Raises:
            HardwareError: it failed every time, or will always fail.
        """
        for _ in range(TRIES - 1):
            try:
                return read()
            except SensorReadError:
                self.sleep(AGAIN_S)
        return read()

    def name(self, sysfs: Sysfs, file: Path) -> str:
        """Text of a file that names something, or says what it is.

        Raises:
            SensorReadError: it is empty; and all that `Sysfs.read_text` raises.
        """

        def read() -> str:
            text = sysfs.read_text(file)
            if not text:
                raise SensorReadError(f"{file} is empty; check its driver")
            return text

        return self.ask(read)

    @contextmanager
    def leaving_out(self, silent: str | None = None, nameless: str | None = None) -> Iterator[None]:
        """Leave out what fails inside, and report why.

        Args:
            silent: name of the rail that is missing then.
            nameless: words for the rails that are missing then, if their names are unknown.
        """
        try:
            yield
        except HardwareError as error:
            _add(self.unread, str(error))
            if silent is not None:
                _add(self.silent, silent)
            if nameless is not None:
                _add(self.nameless, nameless)


def _add(texts: list[str], text: str) -> None:
    if text not in texts:
        texts.append(text)

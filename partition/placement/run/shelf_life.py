"""Shelf life of measurements: what has not been measured for long is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Generic, TypeVar

FIRST_S = 600.0
"""For which a measurement holds that is not repeated; after each trial twice as long."""
Key = TypeVar("Key", bound=Hashable)


class ShelfLife(Generic[Key]):
    """When things were last measured that are not as they are described.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._measured_s: dict[Key, float] = {}
        self._holds_s: dict[Key, float] = {}

    @property
    def known(self) -> Collection[Key]:
        """What was measured and still holds."""
        return self._measured_s.keys()

    def renew(self, keys: Iterable[Key]) -> None:
        """Take note that these are measured now."""
        self._measured_s |= dict.fromkeys(keys, self._clock())

    def ended(self) -> list[Key]:
        """What has not been measured for too long, told once."""
        now_s = self._clock()
        found = [
            key
            for key, measured_s in self._measured_s.items()
            if now_s - measured_s >= self._holds_s.get(key, FIRST_S)
        ]
        for key in found:
            del self._measured_s[key]
            self._holds_s[key] = 2 * self._holds_s.get(key, FIRST_S)
        return found

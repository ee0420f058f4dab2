"""Progress of work that takes long: a line now and then, with the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

ItemT = TypeVar("ItemT")

PERIOD_S = 5.0
"""Shorter work says nothing, longer work a line so often at most."""


def progress(
    what: str, items: Sequence[ItemT], clock: Callable[[], float] = time.monotonic
) -> Iterator[ItemT]:
    """Pass items on and say on stderr how many are done; results on stdout stay as they are.

    Args:
        what: is done to them, as the beginning of a line.
        items: each taking about as long as any other.
        clock: present time, s.
    """
    began_s = told_s = clock()
    for n_done, item in enumerate(items):
        now_s = clock()
        if n_done and now_s - told_s >= PERIOD_S:
            told_s = now_s
            left_s = (now_s - began_s) / n_done * (len(items) - n_done)
            text = f"{what}: {n_done} of {len(items)}, about {duration(left_s)} left"
            print(text, file=sys.stderr, flush=True)
        yield item


def duration(seconds: float) -> str:
    """A time in words, in the unit that suits it."""
    if seconds < 100.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 6000.0 else f"{seconds / 3600.0:.1f} h"

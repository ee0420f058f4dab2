"""Live runs several at a time: all are brought, at most so many run at once, a failure ends it."""

from __future__ import annotations

import threading
import time

import pytest

from benchmarks.live.side_by_side import side_by_side


def test_brings_all_and_runs_no_more_at_once_than_told():
    lock, running, most = threading.Lock(), 0, 0

    def run(n: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return n * n

    assert sorted(side_by_side(range(7), run, 2)) == [n * n for n in range(7)]
    assert most == 2


def test_a_failure_ends_it_and_what_was_not_begun_stays_so():
    begun = []

    def run(n: int) -> int:
        begun.append(n)
        time.sleep(0.02)
        if n == 1:
            raise OSError("no more")
        return n

    with pytest.raises(OSError, match="no more"):
        list(side_by_side(range(50), run, 2))
    assert len(begun) < 10

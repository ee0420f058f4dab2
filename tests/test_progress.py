"""Lines of progress."""

from __future__ import annotations

import pytest

from common.progress import duration, progress


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_long_work_tells_now_and_then_how_much_is_left(capsys):
    clock, seen = Clock(), []
    for item in progress("measuring", range(10), clock):
        seen.append(item)
        clock.now_s += 3.0
    assert seen == list(range(10))
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == "measuring: 2 of 10, about 24 s left"
    assert len(lines) == 4


def test_short_work_says_nothing(capsys):
    assert list(progress("measuring", [1, 2, 3])) == [1, 2, 3]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds", "words"), [(7.4, "7 s"), (600.0, "10 min"), (9000.0, "2.5 h")])
def test_times_are_told_in_the_unit_that_suits_them(seconds, words):
    assert duration(seconds) == words

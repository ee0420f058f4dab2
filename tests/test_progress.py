"""Progress: lines of the log, or one line on a terminal that goes on; nothing of short work."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time

import pytest

from common import progress as module
from common.progress import Progress
from tests.conftest import REPOSITORY

TERMINAL = """
import sys, time
from common import progress
progress._EVERY_ON_TERMINAL_S = 0.1
with progress.Progress("building", 2, first_line_s=float(sys.argv[1])) as told:
    told.step("an engine")
    time.sleep(float(sys.argv[2]))
    if sys.argv[3:]:
        raise KeyError
print("result")
"""


def test_a_long_start_says_where_it_is_and_a_short_one_nothing(caplog):
    with Progress("engines are built", 3, first_line_s=10.0) as progress:
        progress.step("one")
    assert not caplog.text
    with Progress("engines are built", 3, first_line_s=0.05) as progress:
        progress.step("one")
        time.sleep(0.15)
    assert "engines are built: 1 of 3 (one), 0 s so far" in caplog.text
    assert "done in" in caplog.text


def test_a_long_step_is_said_again_and_again(caplog, monkeypatch):
    monkeypatch.setattr(module, "_EVERY_S", 0.05)
    with Progress("preparing", 1, first_line_s=0.01) as progress:
        progress.step("finding its shapes")
        time.sleep(0.5)
    assert len(re.findall(r"1 of 1 \(finding its shapes\)", caplog.text)) > 3


def test_of_steps_that_are_alike_it_says_what_is_left(caplog, capsys):
    progress, seen = Progress("measuring", 10, first_line_s=0.0), []
    progress._began_s -= 60.0
    for item in progress.each(range(3)):
        seen.append(item)
    assert seen == [0, 1, 2]
    assert caplog.messages == [
        "measuring: 1 of 10, 60 s so far",
        "measuring: 2 of 10, 60 s so far, about 9 min left",
        "measuring: 3 of 10, 60 s so far, about 4 min left",
    ]
    assert capsys.readouterr().out == ""


def on_a_terminal(*options):
    """What is shown on a terminal, and stdout."""
    ours, its = pty.openpty()
    command = [sys.executable, "-c", TERMINAL, *options]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=its) as process:
        os.close(its)
        shown = b""
        while True:
            try:
                more = os.read(ours, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            shown += more
        out = process.stdout.read()
    os.close(ours)
    return shown.decode(), out.decode()


@pytest.mark.parametrize("fails", [False, True])
def test_on_a_terminal_one_line_goes_on(fails):
    shown, out = on_a_terminal("0.3", "1.6", *["fails"] * fails)
    drawn = re.findall(r"\rbuilding: 1 of 2 \(an engine\), (\d) s so far\x1b\[K\r", shown)
    assert len(drawn) > 5
    assert set(drawn) >= {"0", "1"}
    assert "\n" not in shown[: shown.rindex("so far")]
    end = shown[shown.rindex("so far") :]
    assert end.startswith("so far\x1b[K\r\r\x1b[K\r")  # gone before anything else is said
    assert bool(re.search(r"building: done in \d s", end)) != fails
    assert out == ("" if fails else "result\n")


def test_on_a_terminal_short_work_says_nothing():
    assert on_a_terminal("5", "0.2") == ("", "result\n")


@pytest.mark.parametrize(("seconds", "words"), [(7.4, "7 s"), (600.0, "10 min"), (9000.0, "2.5 h")])
def test_times_are_told_in_the_unit_that_suits_them(seconds, words):
    assert module.duration(seconds) == words

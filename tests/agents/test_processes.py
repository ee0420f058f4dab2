"""Processes that end with whoever began them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from agents.training.workers import fresh_processes, n_cores
from tests.conftest import REPOSITORY

PARENT = """
import os, time
from agents.training.workers import fresh_processes
if __name__ == "__main__":
    with fresh_processes(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 60).result()
"""


def test_work_is_done_elsewhere_with_one_thread():
    with fresh_processes(1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
    assert n_cores() >= 1


def test_an_error_does_not_wait_for_what_is_being_done():
    def fail() -> None:
        with fresh_processes(1) as pool:
            pool.submit(os.getpid).result()
            pool.submit(time.sleep, 60)
            raise RuntimeError("enough")

    began_s = time.monotonic()
    with pytest.raises(RuntimeError, match="enough"):
        fail()
    assert time.monotonic() - began_s < 30


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_nothing_is_left_of_a_parent_that_was_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    ) as parent:
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
    for _ in range(100):
        if not is_alive(child):
            break
        time.sleep(0.1)
    assert not is_alive(child)


INTERRUPTED = """
import os, sys, time
from agents.training.workers import fresh_processes
if __name__ == "__mp_main__":
    print("importing", flush=True)
    time.sleep(1)
if __name__ == "__main__":
    try:
        with fresh_processes(1) as pool:
            pool.submit(time.sleep, 60).result()
    except KeyboardInterrupt:
        sys.exit(130)
"""


def test_an_interrupt_from_a_terminal_does_not_reach_what_is_still_importing(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(INTERRUPTED)
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
    ) as parent:
        assert parent.stdout.readline() == "importing\n"
        os.killpg(parent.pid, signal.SIGINT)
        _, errors = parent.communicate(timeout=60)
    assert (parent.returncode, errors) == (130, "")

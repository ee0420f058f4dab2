"""Worker processes, one per core."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

LOOK_EVERY_S = 1.0
PARENT = "DVFO_PARENT"
"""Environment variable with the process that a training shall not outlive."""


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def fresh_processes(n: int) -> Iterator[ProcessPoolExecutor]:
    """Processes with one thread each; whatever ends the block ends them and what they do.

    Forked torch and gRPC hang; fresh processes do not.
    """
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n, spawn, initializer=_begin, initargs=(os.getpid(),))
    _start(pool)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    pool.shutdown()


def _start(pool: ProcessPoolExecutor) -> None:
    """Start all processes with SIGINT blocked: from a terminal it comes while they import, too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        pool.submit(os.getpid)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _watch(parent, lambda: os._exit(1))
    os.environ["OMP_NUM_THREADS"] = "1"  # for what is loaded later
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def end_with_parent() -> None:
    """Stop as by SIGTERM once the process is gone that `PARENT` names, if it does."""
    parent = os.environ.pop(PARENT, "")
    if parent.isdigit():
        _watch(int(parent), lambda: os.kill(os.getpid(), signal.SIGTERM))


def _watch(parent: int, end: Callable[[], object]) -> None:
    """A parent that was killed cannot say so."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        end()

    threading.Thread(target=look, name="parent", daemon=True).start()

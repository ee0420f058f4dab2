"""Work on all cores at once."""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor


def fresh_processes(n: int | None = None) -> ProcessPoolExecutor:
    """Processes with one thread each, as many as there are cores if not told otherwise.

    Forked torch and gRPC hang; fresh processes do not.
    """
    spawn = multiprocessing.get_context("spawn")
    cores = len(os.sched_getaffinity(0))
    return ProcessPoolExecutor(n or cores, spawn, initializer=_one_thread)


def _one_thread() -> None:
    """Of torch, which may be loaded by now, and of whatever is loaded later."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)

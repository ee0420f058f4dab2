"""Work on all cores at once."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor


def fresh_processes(n: int | None = None) -> ProcessPoolExecutor:
    """Processes with one thread each, as many as there are cores if not told otherwise.

    Forked torch and gRPC hang; fresh processes do not.
    """
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(n or os.cpu_count(), spawn, initializer=_one_thread)


def _one_thread() -> None:
    """Libraries read this when they are loaded, which a fresh process has not done yet."""
    os.environ["OMP_NUM_THREADS"] = "1"

"""Live runs several at a time, each with a link and a server of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

What = TypeVar("What")
Found = TypeVar("Found")


def side_by_side(
    todo: Sequence[What], run: Callable[[What], Found], n_jobs: int
) -> Iterator[Found]:
    """What the runs bring, as each ends; those that were not begun are left out after a failure.

    Args:
        todo: what to run, begun in this order.
        run: runs one, in a thread of its own.
        n_jobs: runs at a time.
    """
    pool = ThreadPoolExecutor(n_jobs)
    try:
        for future in as_completed([pool.submit(run, what) for what in todo]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)

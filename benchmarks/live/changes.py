"""Links whose rate changes by ten times: when a board knows of it, row by row."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.live.course import PAYLOAD
from benchmarks.live.estimate_cell import Reading
from benchmarks.live.estimates import SENDS, finished, start, undisturbed
from benchmarks.live.link import exact_link
from benchmarks.live.plan import RTTS_MS
from benchmarks.live.rows import Rows
from partition.model.folder import ModelFolder

KEY = ("sends", "from_mbps", "to_mbps", "rtt_ms", "repeat")
COLUMNS = (*KEY, "known_s", "surprised", "right_after")
PAIRS_MBPS = ((50.0, 5.0), (20.0, 2.0))
"""There and back."""
DEADLINE_S = 0.1
CHANGES, STEADY_S = 4, 5.03
"""Of a run, and the time between two of them, which meets control steps at any moment."""
_STARTING_S = 6.0
KNOWN_S = 1.25
"""A link is probed in the first control step after a second."""
CLOSE = 0.25
"""An estimate so near to the rate knows it."""
NEVER_S = 9.999
"""Stands for a change that was not known before the next one."""


def measure(
    rows: Rows,
    folder: ModelFolder,
    pairs_mbps: Sequence[tuple[float, float]],
    *,
    repeats: int,
    report: Callable[[str], object],
) -> None:
    """Add the rows that are missing.

    Raises:
        EnvError: live runs are not possible here, or one failed.
    """
    todo = [
        (sends, pair, rtt_ms, repeat)
        for repeat in range(0, repeats, CHANGES // 2)
        for rtt_ms in RTTS_MS
        for pair in pairs_mbps
        for sends in SENDS
        if not rows.has(dict(zip(KEY, (sends, *pair, rtt_ms, repeat), strict=True)))
    ]
    for n, (sends, pair, rtt_ms, repeat) in enumerate(todo):
        between = f"{pair[0]:g} and {pair[1]:g} Mbit/s"
        report(f"{n + 1} of {len(todo)}: {sends}, between {between}, {rtt_ms:g} ms")
        changes, seen = _run(folder, sends, pair, rtt_ms)
        for i, found in enumerate(judged(changes, seen)):
            way = pair if i % 2 == 0 else pair[::-1]
            key = (sends, *way, rtt_ms, repeat + i // 2)
            rows.add(dict(zip(KEY, key, strict=True)) | found)


def _run(
    folder: ModelFolder, sends: str, pair_mbps: tuple[float, float], rtt_ms: float
) -> tuple[list[tuple[float, float]], list[Reading]]:
    """When the rate became what, and what a board read meanwhile."""
    ends_mbps = (pair_mbps[1], pair_mbps[0])
    course = [(_STARTING_S + (1 + i) * STEADY_S, ends_mbps[i % 2] * 1e6) for i in range(CHANGES)]
    with undisturbed(), exact_link(pair_mbps[0] * 1e6, rtt_ms / 1e3) as link:
        board = start(link, folder, sends, course[-1][0] + STEADY_S, DEADLINE_S)
        began_s = time.monotonic()
        link.follow(course)
        seen = finished(board)
    return [(began_s + after_s, rate_bps) for after_s, rate_bps in course], seen


def judged(
    changes: Sequence[tuple[float, float]], seen: Sequence[Reading]
) -> Iterator[dict[str, Any]]:
    """Of each change, when it was known, and how many requests were sent until then.

    Args:
        changes: time, and rate from then on, bit/s.
        seen: by a board.
    """
    ends_s = [*(at_s for at_s, _ in changes[1:]), math.inf]
    for (at_s, rate_bps), end_s in zip(changes, ends_s, strict=True):
        after = [each for each in seen if at_s < each.at_s < end_s]
        right = [abs(each.link_bps / (rate_bps * PAYLOAD) - 1.0) <= CLOSE for each in after]
        first = right.index(True) if True in right else len(right)
        met = [each for each in after[:first] if _was_sent(each)]
        later = right[first:]
        yield {
            "known_s": after[first].at_s - at_s if first < len(after) else NEVER_S,
            "surprised": len(met),
            "right_after": sum(later) / len(later) if later else 0.0,
        }


def _was_sent(reading: Reading) -> bool:
    """Whether a request was sent then, and not refused at once."""
    if reading.took_s is None:
        return False
    return reading.was_answered or reading.took_s > 0.5 * DEADLINE_S

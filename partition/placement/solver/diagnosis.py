"""Diagnosis of networks that do not fit a cluster: which block, and how many bytes are missing."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from partition.placement.errors import InfeasibleError, PlacementError
from partition.placement.solver.bisection import fits
from partition.placement.solver.choices import list_choices
from partition.placement.solver.label_setting import LabelSearch
from partition.placement.solver.problem import Problem
from partition.placement.solver.stage_graph import Threshold

_EXACT = 0.01
"""Share of the missing bytes; a board's memory comes in larger steps."""
_ASK_S = 0.5
"""For each amount of memory that is tried: some ten of them fit into a few seconds."""


def check(problem: Problem) -> None:
    """Refuse what cannot fit, however it is cut.

    Raises:
        InfeasibleError: however it is cut, a stage is larger than every device, or all of them
            together are larger than all devices.
    """
    largest = int(problem.capacity_bytes.argmax())
    room = int(problem.capacity_bytes[largest])
    start, end = _tightest(problem)
    need = int(problem.stage_bytes[start, end])
    if need > room:
        limited = room == problem.memory_limit_bytes
        raise InfeasibleError(
            f"{_blocks(problem, start, end)} {need} bytes, {need - room} more than the largest "
            f"device {problem.devices[largest]!r} has free ({room}), and no other cuts need less: "
            + ("raise --memory-limit" if limited else "add memory or a larger device")
        )
    need, together = _least_bytes(problem, room), int(problem.capacity_bytes.sum())
    if need > together:
        raise InfeasibleError(
            f"the network needs {need} bytes on all devices together, {need - together} more than "
            f"they have free ({together}): {_remedy(problem)}"
        )


def _tightest(problem: Problem) -> tuple[int, int]:
    """The largest stage where the network is cut so that it is as small as can be.

    A block alone may need more than a stage with its neighbours: what waits between them is gone.
    """
    sizes = problem.stage_bytes
    largest = np.zeros(problem.n_blocks + 1, dtype=np.int64)
    starts = [0] * (problem.n_blocks + 1)
    for end in range(1, problem.n_blocks + 1):
        worst = np.maximum(largest[:end], sizes[:end, end])
        starts[end] = end - 1 - int(worst[::-1].argmin())  # short stages say more than long ones
        largest[end] = worst[starts[end]]
    end, found = problem.n_blocks, (0, problem.n_blocks)
    while end:
        if sizes[starts[end], end] == largest[-1]:
            found = starts[end], end
        end = starts[end]
    return found


def _blocks(problem: Problem, start: int, end: int) -> str:
    if end == start + 1:
        return f"block {problem.blocks[start]!r} needs"
    return f"blocks {problem.blocks[start]!r} to {problem.blocks[end - 1]!r} in one stage need"


def _least_bytes(problem: Problem, room: int) -> int:
    """Least sum over all ways to cut it into stages that fit the largest device."""
    least = np.full(problem.n_blocks + 1, np.iinfo(np.int64).max // 2, dtype=np.int64)
    least[0] = 0
    for end in range(1, problem.n_blocks + 1):
        sizes = problem.stage_bytes[:end, end]
        least[end] = np.where(sizes <= room, least[:end] + sizes, least[-1]).min()
    return int(least[-1])


def _remedy(problem: Problem) -> str:
    limited = (problem.capacity_bytes == problem.memory_limit_bytes).any()
    return ("raise --memory-limit, " if limited else "") + "add memory or devices"


def explain(problem: Problem, *, proved: bool, limit: str, seconds: float) -> PlacementError:
    """The error for a problem that no placement was found for.

    Args:
        problem: network and cluster.
        proved: whether there is none.
        limit: what else was asked for, in words; empty: nothing.
        seconds: for finding out what is missing.
    """
    if not proved:
        return PlacementError(f"no placement{limit} was found in time: raise --time-limit")
    deadline_s = time.monotonic() + seconds

    def fit(changed: Problem) -> bool | None:
        return fits(changed, min(_ASK_S, max(deadline_s - time.monotonic(), 0.0)))

    if problem.pins and fit(problem) is False and fit(replace(problem, pins=())):
        return InfeasibleError(
            "no placement keeps the pins: a pinned stage does not fit its device, or no link leads "
            "there; leave a --pin out"
        )
    if limit and fit(problem) is not False:
        return InfeasibleError(
            f"no placement keeps up{limit}: lower --rate, or add faster devices or links"
        )
    block = problem.blocks[_furthest(problem)]
    high = int(problem.stage_bytes.max())
    answer = fit(_with_room(problem, high))
    if answer is None:
        return InfeasibleError(
            f"the network does not fit: from block {block!r} on there is no room: "
            f"{_remedy(problem)}, or links"
        )
    if not answer:
        return InfeasibleError(
            f"block {block!r} and what follows cannot be placed: no links lead from device to "
            "device as far as that, add some"
        )
    low, known = 0, True
    while high - low > max(_EXACT * high, 1) and time.monotonic() < deadline_s:
        middle = (low + high) // 2
        answer = fit(_with_room(problem, middle))
        known = known and answer is not None
        low, high = (low, middle) if answer else (middle, high)
    exact = "" if known and time.monotonic() < deadline_s else "at most "
    return InfeasibleError(
        f"the network does not fit: from block {block!r} on there is no room, {exact}{high} bytes "
        f"are missing on every device: {_remedy(problem)}"
    )


def _with_room(problem: Problem, more_bytes: int) -> Problem:
    return replace(problem, capacity_bytes=problem.capacity_bytes + more_bytes)


def _furthest(problem: Problem) -> int:
    """The first block that a search, led by prices, found no device for."""
    choices = list_choices(problem)
    threshold = Threshold(choices, choices.largest_s)
    prices = np.ones(len(choices.counts)) / choices.counts.sum()
    # As if a walk could end anywhere, to see how far it gets.
    nothing = np.zeros((problem.n_blocks + 1, len(choices)))
    search = LabelSearch(threshold, prices, most=0, width=200, after=nothing)
    search.run()
    steps = search.furthest()
    return min(steps[-1][2], problem.n_blocks - 1) if steps else 0

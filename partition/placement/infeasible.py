"""Why a network does not fit a cluster: which block, and how many bytes are missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from partition.placement.choices import list_choices
from partition.placement.errors import InfeasibleError, PlacementError
from partition.placement.labels import LabelSearch
from partition.placement.problem import Problem
from partition.placement.threshold import Threshold
from partition.placement.throughput import fits

_EXACT = 0.01
_ASK_S = 0.5


def check(problem: Problem) -> None:
    """Refuse what cannot fit, however it is cut.

    Raises:
        InfeasibleError: a block is larger than every device, or all devices together are too small.
    """
    largest = int(problem.capacity_bytes.argmax())
    room = int(problem.capacity_bytes[largest])
    alone = np.diagonal(problem.stage_bytes, offset=1)
    block = int(alone.argmax())
    if alone[block] > room:
        raise InfeasibleError(
            f"block {problem.blocks[block]!r} needs {alone[block]} bytes, {alone[block] - room} "
            f"more than the largest device {problem.devices[largest]!r} has free ({room}): add "
            "memory or a larger device"
        )
    need, together = _least_bytes(problem, room), int(problem.capacity_bytes.sum())
    if need > together:
        raise InfeasibleError(
            f"the network needs {need} bytes on all devices together, {need - together} more than "
            f"they have free ({together}): add memory or devices"
        )


def _least_bytes(problem: Problem, room: int) -> int:
    """Least sum over all ways to cut it into stages that fit the largest device."""
    least = np.full(problem.n_blocks + 1, np.iinfo(np.int64).max // 2, dtype=np.int64)
    least[0] = 0
    for end in range(1, problem.n_blocks + 1):
        sizes = problem.stage_bytes[:end, end]
        least[end] = np.where(sizes <= room, least[:end] + sizes, least[-1]).min()
    return int(least[-1])


def explain(problem: Problem, *, proved: bool, limit: str = "") -> PlacementError:
    """The error for a problem that no placement was found for.

    Args:
        problem: network and cluster.
        proved: whether there is none.
        limit: what else was asked for, in words.
    """
    if not proved:
        return PlacementError(f"no placement{limit} was found in time: raise --time-limit")
    if limit and fits(problem, _ASK_S):
        return InfeasibleError(f"no placement keeps up{limit}: lower --rate or add devices")
    block = problem.blocks[_furthest(problem)]
    whole = int(problem.stage_bytes.max())
    if not fits(_with_room(problem, whole), _ASK_S):
        return InfeasibleError(
            f"block {block!r} and what follows cannot be placed: no links lead from device to "
            "device as far as that, add some"
        )
    low, high = 0, whole
    while high - low > max(_EXACT * high, 1):
        middle = (low + high) // 2
        low, high = (low, middle) if fits(_with_room(problem, middle), _ASK_S) else (middle, high)
    return InfeasibleError(
        f"the network does not fit: from block {block!r} on there is no room, {high} bytes are "
        "missing on every device: add memory or devices"
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

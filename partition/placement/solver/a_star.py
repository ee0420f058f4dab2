"""Placements of least sum: latency or energy, of which each stage and each transfer has a share.

Best first (A*): a partial placement is ranked by what it cost so far and the least that the rest
can cost if devices could be taken twice. The first complete one is the best there is; when time is
up, the rank of the next one in line is a bound on all of them. Of two that got equally far on the
same device, one that cost no less and took no fewer devices is dropped.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import numpy as np

from partition.placement.cluster import Floats
from partition.placement.solver.problem import Problem, transfer_s
from partition.placement.solver.stage_graph import Step

_FIRST_WEIGHT = 3.0
"""Overrates the rest, so that some placement is found soon, whose cost prunes the exact search."""
_FIRST_EXPANSIONS = 400
"""A fraction of a second: the exact search does without if that was too few."""
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What each part of a placement adds; inf where it cannot be. K classes of devices.

    Attributes:
        stage: (K, L + 1, L + 1).
        link: (L + 1, K, K) of a cut from row to column.
        entry: (K,) of the input.
        exit: (K,) of the output.
    """

    stage: Floats
    link: Floats
    entry: Floats
    exit: Floats


@dataclass(frozen=True, kw_only=True)
class Cheapest:
    """A placement of least sum and what is proved about it."""

    steps: tuple[Step, ...]
    """By class of device; empty where none was found."""
    cost: float
    bound: float
    """No placement costs less; inf: there is none."""


@dataclass(frozen=True, slots=True)
class _Label:
    """A partial placement."""

    cost: float
    cut: int
    device: int
    """Class of the last stage's device; -1 before the first."""
    taken: int
    """Bits of the devices that were taken; those of a class from the lowest on."""
    start: int
    parent: _Label | None


def latency_costs(problem: Problem, period_s: float = np.inf) -> Costs:
    """Seconds from input to output.

    Args:
        problem: network and cluster.
        period_s: the most that a stage or a transfer may take.
    """
    first = [group[0] for group in problem.classes]
    kind = problem.kinds[0][first]
    stage_s = problem.kind_stage_s[kind]
    transfer_s = transfers_s(problem)
    delay_s = class_pairs(problem, problem.delay_s)
    entry_s, exit_s = problem.entry_s[first], problem.exit_s[first]
    entry_delay_s = 0.0 if problem.source is None else problem.delay_s[problem.source][first]
    exit_delay_s = 0.0 if problem.sink is None else problem.delay_s[first, problem.sink]
    encode_s = problem.input_encode_s
    # A source with a later stage counts it there, where it adds to what keeps the device busy; a
    # frame is encoded once, on its way in.
    busy_s = np.zeros_like(stage_s)
    if encode_s:
        at_source = np.array([device == problem.source for device in first])
        busy_s[at_source, 1:] = encode_s
        entry_s = np.where(at_source, entry_s, entry_s + encode_s)
    return Costs(
        stage=within(stage_s, stage_s - busy_s, period_s),
        link=within(transfer_s, transfer_s + delay_s, period_s),
        entry=within(problem.entry_period_s[first], entry_s + entry_delay_s, period_s),
        exit=within(exit_s, exit_s + exit_delay_s, period_s),
    )


def relaxed(limit: float) -> float:
    """A wished limit with room for rounding: a rate is given as 1 / period, sums have an order."""
    return limit * (1 + _ROUNDING)


def within(seconds: Floats, costs: Floats, period_s: float) -> Floats:
    """Costs of what keeps within a period, inf elsewhere."""
    return np.where(seconds <= period_s, costs, np.inf)


def class_pairs(problem: Problem, matrix: Floats) -> Floats:
    """(K, K) of a matrix over devices; two of one class on the diagonal."""
    first = [group[0] for group in problem.classes]
    pairs: Floats = matrix[np.ix_(first, first)]
    for k, group in enumerate(problem.classes):
        pairs[k, k] = matrix[group[0], group[-1]]
    return pairs


def transfers_s(problem: Problem) -> Floats:
    """(L + 1, K, K) seconds of each cut between two classes; inf without a link."""
    s_per_byte = class_pairs(problem, problem.s_per_byte)
    for k, group in enumerate(problem.classes):
        if len(group) == 1:
            s_per_byte[k, k] = np.inf
    return transfer_s(problem.cut_bytes[:, None, None], s_per_byte)


def solve_additive(
    counts: tuple[int, ...],
    costs: Costs,
    *,
    time_limit_s: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
) -> Cheapest:
    """The placement of least cost.

    Args:
        counts: devices of each class.
        costs: of every part.
        time_limit_s: when to stop, proved or not.
        clock: seconds that pass.
    """
    search = _LabelSearch(counts, costs)
    deadline_s = clock() + time_limit_s
    quick = search.run(
        _FIRST_WEIGHT, None, lambda n: n < _FIRST_EXPANSIONS and clock() < deadline_s
    )
    return search.run(1.0, quick, lambda _: clock() < deadline_s)


class _LabelSearch:
    def __init__(self, counts: tuple[int, ...], costs: Costs) -> None:
        self._costs = costs
        self._last = costs.stage.shape[1] - 1
        self._after, self._before = self._to_go()
        self._offsets = [sum(counts[:k]) for k in range(len(counts))]
        self._counts = counts

    def _to_go(self) -> tuple[Floats, Floats]:
        """Least cost of what is left, as `Threshold.price_to_go` has it for prices."""
        costs, last = self._costs, self._last
        n = len(costs.entry)
        after, before = np.full((last + 1, n), np.inf), np.full((last + 1, n), np.inf)
        after[last] = costs.exit
        for cut in range(last - 1, -1, -1):
            before[cut] = (costs.stage[:, cut, :] + after.T).min(axis=1)
            if cut:
                after[cut] = (costs.link[cut] + before[cut]).min(axis=1)
        return after, before

    def run(self, weight: float, known: Cheapest | None, go_on: Callable[[int], bool]) -> Cheapest:
        """Search with the rest's least cost weighted; only weight 1 proves anything."""
        best = known or Cheapest(steps=(), cost=np.inf, bound=0.0)
        order = count()
        heap: list[tuple[float, int, _Label]] = []
        seen: dict[tuple[int, int], list[tuple[float, int]]] = {}
        self._push(heap, order, _Label(0.0, 0, -1, 0, 0, None), weight, best.cost)
        n = 0
        while heap:
            rank, _, label = heapq.heappop(heap)
            if rank >= best.cost or not go_on(n):
                if weight == 1.0:
                    best = Cheapest(steps=best.steps, cost=best.cost, bound=min(rank, best.cost))
                return best
            if label.cut == self._last:
                cost = label.cost + float(self._costs.exit[label.device])
                bound = cost if weight == 1.0 else 0.0
                return Cheapest(steps=_trace(label), cost=cost, bound=bound)
            if not self._beaten(seen, label):
                n += 1
                self._push(heap, order, label, weight, best.cost)
        return Cheapest(steps=best.steps, cost=best.cost, bound=best.cost)

    def _beaten(self, seen: dict[tuple[int, int], list[tuple[float, int]]], label: _Label) -> bool:
        others = seen.setdefault((label.cut, label.device), [])
        if any(cost <= label.cost and not taken & ~label.taken for cost, taken in others):
            return True
        others.append((label.cost, label.taken))
        return False

    def _push(
        self,
        heap: list[tuple[float, int, _Label]],
        order: count[int],
        label: _Label,
        weight: float,
        limit: float,
    ) -> None:
        """Put everything behind a partial placement that one more stage makes of it."""
        cut = label.cut
        steps = self._costs.entry if label.device < 0 else self._costs.link[cut][label.device]
        for k in np.flatnonzero(steps + self._before[cut] + label.cost < limit).tolist():
            taken = self._take(label.taken, k)
            if not taken:
                continue
            costs = label.cost + steps[k] + self._costs.stage[k, cut]
            ranks = costs + weight * self._after[:, k]
            for end in np.flatnonzero(ranks < limit).tolist():
                longer = _Label(float(costs[end]), end, k, taken, cut, label)
                heapq.heappush(heap, (float(ranks[end]), next(order), longer))

    def _take(self, taken: int, k: int) -> int:
        """With the next device of a class taken, 0 if none is left."""
        offset = self._offsets[k]
        mine = taken >> offset & ((1 << self._counts[k]) - 1)
        n = mine.bit_length()
        return 0 if n == self._counts[k] else taken | 1 << (offset + n)


def _trace(label: _Label) -> tuple[Step, ...]:
    steps: list[Step] = []
    while label.parent is not None:
        steps.append((label.device, label.start, label.cut))
        label = label.parent
    return tuple(reversed(steps))

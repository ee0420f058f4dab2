"""What-if analysis: gain of one more device, a faster link or more memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from partition.placement.errors import PlacementError
from partition.placement.plan import Plan
from partition.placement.solver.problem import Problem, with_more
from partition.placement.solver.solve import PlacementObjective, solve

_MAX_KINDS = 3
"""Of devices to add: each is solved again, and the fastest ones bring most."""
_NOTHING = 1e-9
"""Share of the objective that is no gain but rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A change of the cluster, and what the objective becomes."""

    what: str
    value: float
    """Seconds of period or latency, or joules."""
    saves: float
    """Share of the objective; 0 where nothing better was found."""
    proved: bool
    """Whether it cannot bring more."""


def find_changes(
    problem: Problem, wish: PlacementObjective, plan: Plan, time_limit_s: float
) -> Iterator[Change]:
    """The best further device, the slowest link twice as fast, twice the memory everywhere.

    Args:
        problem: network and cluster.
        wish: what the plan is for; its time limit does not count.
        plan: what is there already.
        time_limit_s: for all of them together.
    """
    deadline_s = time.monotonic() + time_limit_s
    twins = _worth_doubling(problem)

    def change(what: str, changed: Problem, n_left: int) -> Change:
        left_s = max(deadline_s - time.monotonic(), 0.0)
        return _change(what, changed, replace(wish, time_limit_s=left_s / n_left), plan)

    more = [
        change(f"another {problem.devices[device]}", with_more(problem, device), left)
        for left, device in zip(range(len(twins) + 2, 2, -1), twins, strict=True)
    ]
    best = max(more, key=lambda each: each.saves)
    proved = all(each.proved for each in more)
    what = best.what if best.saves else "one more device of the fastest kinds"
    yield replace(best, what=what, proved=proved)
    yield change(*_faster(problem, plan), 2)
    limited = (problem.capacity_bytes == problem.memory_limit_bytes).any()
    yield change(
        "twice the memory everywhere" + (" and twice --memory-limit" if limited else ""),
        replace(problem, capacity_bytes=2 * problem.capacity_bytes),
        1,
    )


def _change(what: str, changed: Problem, wish: PlacementObjective, plan: Plan) -> Change:
    unknown = Change(what=what, value=plan.value, saves=0.0, proved=False)
    if wish.time_limit_s <= 0:  # many devices take a while before a search begins
        return unknown
    try:
        found = solve(changed, wish)
    except PlacementError:  # not found in the short time; the plan at hand still holds
        return unknown
    saves = 1.0 - found.value / plan.value if plan.value else 0.0
    if saves > _NOTHING:
        return Change(what=what, value=found.value, saves=saves, proved=found.proved)
    nothing = found.bound >= plan.value * (1 - _NOTHING)
    return Change(what=what, value=plan.value, saves=0.0, proved=nothing)


def _faster(problem: Problem, plan: Plan) -> tuple[str, Problem]:
    faster = problem.bytes_per_s.copy()
    pair = _slowest_link(problem, plan)
    if pair is None:
        return "every link twice as fast", replace(problem, bytes_per_s=2 * faster)
    faster[pair] *= 2
    a, b = (problem.devices[end] for end in pair)
    what = f"the link from {a} to {b} twice as fast"
    return what, replace(problem, bytes_per_s=faster)


def _worth_doubling(problem: Problem) -> list[int]:
    """One device of each of the fastest kinds."""
    first = problem.kinds[1]
    order = np.argsort(problem.block_s[first].sum(axis=1), kind="stable")
    return [int(device) for device in first[order][:_MAX_KINDS]]


def _slowest_link(problem: Problem, plan: Plan) -> tuple[int, int] | None:
    """The link whose transfer is the bottleneck; None where that is no single link."""
    index = {name: i for i, name in enumerate(problem.devices)}
    stages = [[index[name] for name in stage.devices] for stage in plan.stages]
    senders = [[] if problem.source is None else [problem.source], *stages]
    receivers = [*stages, [] if problem.sink is None else [problem.sink]]
    seconds = [*(stage.receive_s for stage in plan.stages), plan.send_s]
    nth = int(np.argmax(seconds))
    pairs = [(a, b) for a in senders[nth] for b in receivers[nth] if a != b]
    if not pairs or seconds[nth] < plan.period_s:
        return None
    return max(pairs, key=lambda pair: problem.s_per_byte[pair])

"""What one more device, a faster link or more memory would bring."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from partition.placement.errors import PlacementError
from partition.placement.plan import Plan
from partition.placement.problem import Problem, with_more
from partition.placement.solve import Wish, solve

_MAX_KINDS = 3
_SHARE_OF_TIME = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A change of the cluster, and what the objective becomes."""

    what: str
    value: float
    """Seconds of period or latency, or joules."""
    saves: float
    """Share of the objective; 0 where it would bring nothing."""


def list_changes(problem: Problem, wish: Wish, plan: Plan) -> list[Change]:
    """The best further device, the slowest link twice as fast, twice the memory everywhere."""
    quick = replace(wish, time_limit_s=max(wish.time_limit_s * _SHARE_OF_TIME, 0.5))

    def change(what: str, changed: Problem) -> Change:
        try:
            value = min(solve(changed, quick).value, plan.value)
        except PlacementError:  # not found in the short time; the plan at hand still holds
            value = plan.value
        return Change(what=what, value=value, saves=1.0 - value / plan.value if plan.value else 0.0)

    more = [
        change(f"another {problem.devices[device]}", with_more(problem, device))
        for device in _worth_doubling(problem)
    ]
    pair = _slowest_link(problem, plan)
    faster = problem.bytes_per_s.copy()
    if pair is None:
        link, faster = "every link twice as fast", 2 * faster
    else:
        link = (
            f"the link from {problem.devices[pair[0]]} to {problem.devices[pair[1]]} twice as fast"
        )
        faster[pair] *= 2
    best = max(more, key=lambda each: each.saves)
    return [
        best if best.saves else replace(best, what="one more device of the fastest kinds"),
        change(link, replace(problem, bytes_per_s=faster)),
        change(
            "twice the memory everywhere",
            replace(problem, capacity_bytes=2 * problem.capacity_bytes),
        ),
    ]


def _worth_doubling(problem: Problem) -> list[int]:
    """One device of each of the fastest kinds."""
    first = problem.kinds[1]
    order = np.argsort(problem.block_s[first].sum(axis=1), kind="stable")
    return [int(device) for device in first[order][:_MAX_KINDS]]


def _slowest_link(problem: Problem, plan: Plan) -> tuple[int, int] | None:
    """The link whose transfer is the bottleneck; None where that is no single link."""
    index = {name: i for i, name in enumerate(problem.devices)}
    senders = [problem.source, *(index[stage.devices[0]] for stage in plan.stages)]
    receivers = [*(index[stage.devices[0]] for stage in plan.stages), problem.sink]
    seconds = [*(stage.receive_s for stage in plan.stages), plan.send_s]
    nth = int(np.argmax(seconds))
    a, b = senders[nth], receivers[nth]
    if a is None or b is None or a == b or seconds[nth] < plan.period_s:
        return None
    return a, b

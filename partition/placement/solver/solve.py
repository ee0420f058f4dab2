"""Dispatch of each objective to the search that serves it, from an objective to a plan."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from partition.placement.errors import InfeasibleError, PlacementError
from partition.placement.plan import Plan, PlannedStage
from partition.placement.solver import a_star, diagnosis, energy
from partition.placement.solver.bisection import solve_throughput
from partition.placement.solver.choices import Choices
from partition.placement.solver.problem import Problem
from partition.placement.solver.stage_graph import Step

OBJECTIVES = ("throughput", "latency", "energy")
_EXPLAIN_S = 1.0
"""For finding out what is missing where it took all the time to prove that something is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacementObjective:
    """What a placement is for."""

    objective: str = "throughput"
    rate_hz: float | None = None
    """Frames per second that latency and energy have to keep up with."""
    max_latency_s: float | None = None
    """Throughput may not take longer for a frame."""
    max_replicas: int = 1
    time_limit_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse wishes that contradict themselves.

        Raises:
            PlacementError: naming the two.
        """
        if self.objective == "energy" and self.rate_hz is None:
            raise PlacementError("objective energy needs --rate: joules depend on the period")
        if self.objective == "throughput" and self.rate_hz is not None:
            raise PlacementError("objective throughput finds the rate: leave --rate out")
        if self.objective != "throughput" and self.max_latency_s is not None:
            raise PlacementError("--max-latency limits the objective throughput only: leave it out")
        alone = self.objective != "throughput" or self.max_latency_s is not None
        if self.max_replicas > 1 and alone:
            raise PlacementError("replicas serve the objective throughput alone: leave them out")

    @property
    def period_s(self) -> float:
        """What a stage or a transfer may take; inf without a rate."""
        return np.inf if self.rate_hz is None else 1.0 / self.rate_hz


def solve(problem: Problem, wish: PlacementObjective) -> Plan:
    """The best placement, or the best that was found in time, with a bound.

    Raises:
        InfeasibleError: there is none; says which block, and how many bytes are missing.
        PlacementError: none was found in time, or energy lacks the power of a device.
    """
    diagnosis.check(problem)
    deadline_s = time.monotonic() + wish.time_limit_s
    if wish.objective == "throughput" and wish.max_latency_s is None:
        found = solve_throughput(
            problem, max_replicas=wish.max_replicas, time_limit_s=wish.time_limit_s
        )
        if not found.steps:
            raise _explained(problem, found.bound_s, deadline_s)
        return priced(problem, wish, _placed(found.choices, found.steps), found.bound_s)
    if wish.objective == "throughput":
        return _throughput_in_time(problem, wish, deadline_s)
    if wish.objective == "energy":
        costs = energy.energy_costs(problem, wish.period_s)
    else:
        costs = a_star.latency_costs(problem, a_star.relaxed(wish.period_s))
    best = _cheapest(problem, costs, max(deadline_s - time.monotonic(), 0.01))
    if not best.steps:
        limit = "" if wish.rate_hz is None else f" at {wish.rate_hz:g} frames per second"
        raise _explained(problem, best.bound, deadline_s, limit)
    return priced(problem, wish, _singles(problem, best.steps), best.bound)


def _explained(
    problem: Problem, bound: float, deadline_s: float, limit: str = ""
) -> PlacementError:
    left_s = max(deadline_s - time.monotonic(), _EXPLAIN_S)
    return diagnosis.explain(problem, proved=bound == np.inf, limit=limit, seconds=left_s)


def _cheapest(problem: Problem, costs: a_star.Costs, seconds: float) -> a_star.Cheapest:
    counts = tuple(len(group) for group in problem.classes)
    return a_star.solve_additive(counts, costs, time_limit_s=seconds)


def _throughput_in_time(problem: Problem, wish: PlacementObjective, deadline_s: float) -> Plan:
    """Bisection again, where each period is asked for the least latency within it."""
    assert wish.max_latency_s is not None
    most_s = a_star.relaxed(wish.max_latency_s)
    free = solve_throughput(problem, time_limit_s=wish.time_limit_s / 2)
    if not free.steps:
        raise _explained(problem, free.bound_s, deadline_s)
    choices = free.choices
    refuted_s, period_s = -np.inf, np.inf
    steps: tuple[Step, ...] = ()
    ask_s = choices.largest_s
    while True:
        costs = a_star.latency_costs(problem, ask_s)
        left_s = max(deadline_s - time.monotonic(), 0.01)
        best = _cheapest(problem, costs, left_s)
        if best.cost <= most_s:
            steps = best.steps
            period_s = placed_period_s(problem, _singles(problem, steps))
        elif best.bound > most_s:
            refuted_s = ask_s
            if not steps:
                raise InfeasibleError(
                    f"no placement answers within {wish.max_latency_s:.12g} s: the least latency "
                    f"is {best.bound:.12g} s or more, allow that much"
                )
        else:
            break
        low_s = max(refuted_s, np.nextafter(free.bound_s, -np.inf))
        values = choices.candidates_s(low_s, period_s)
        values = values[(values > low_s) & (values < period_s)]
        if not len(values):
            refuted_s = period_s
            break
        if time.monotonic() > deadline_s:
            break
        ask_s = float(values[(len(values) - 1) // 2])
    if not steps:
        raise PlacementError("no placement was found in time: raise --time-limit")
    bound_s = min(max(refuted_s, free.bound_s), period_s)
    return priced(problem, wish, _singles(problem, steps), bound_s)


Placement = list[tuple[tuple[int, ...], int, int]]
"""Per stage its devices as indices, first and last cut."""


def placed_period_s(problem: Problem, placed: Placement) -> float:
    """Seconds per frame of the slowest stage or transfer of a placement."""
    stages_s = [_slowest_s(problem, *stage) / len(stage[0]) for stage in placed]
    links_s = [_receive_s(problem, placed, nth) for nth in range(len(placed))]
    entry_s = float(problem.entry_period_s[list(placed[0][0])].max())
    return max(*stages_s, *links_s, entry_s, float(problem.exit_s[list(placed[-1][0])].max()))


def _slowest_s(problem: Problem, devices: tuple[int, ...], i: int, j: int) -> float:
    """Seconds of a frame in a stage on the slowest of its replicas.

    They share frames as if all took as long: a quicker one takes some more, but results that wait
    for those before them soon fill the line.
    """
    return max(problem.stage_s(device, i, j) for device in devices)


def _placed(choices: Choices, steps: tuple[Step, ...]) -> Placement:
    """Real devices for choices among classes: those of a class in the order they are taken."""
    taken: Counter[int] = Counter()
    placed: Placement = []
    for choice, i, j in steps:
        devices = []
        for k in choices.members[choice]:
            devices.append(choices.problem.classes[k][taken[k]])
            taken[k] += 1
        placed.append((tuple(devices), i, j))
    return placed


def _singles(problem: Problem, steps: tuple[Step, ...]) -> Placement:
    taken: Counter[int] = Counter()
    placed: Placement = []
    for k, i, j in steps:
        placed.append(((problem.classes[k][taken[k]],), i, j))
        taken[k] += 1
    return placed


def _receive_s(problem: Problem, placed: Placement, nth: int) -> float:
    devices, i, _ = placed[nth]
    if nth == 0:
        return float(problem.entry_s[list(devices)].max())
    senders = placed[nth - 1][0]
    slowest = max(problem.transfer_s(i, u, v) for u in senders for v in devices)
    return slowest / min(len(senders), len(devices))


def priced(problem: Problem, wish: PlacementObjective, placed: Placement, bound: float) -> Plan:
    """The plan of a placement.

    Args:
        problem: network and cluster.
        wish: what it is for.
        placed: per stage its devices, first and last cut; everything fits.
        bound: that no placement has less than.

    Raises:
        InfeasibleError: it is too slow for what is wished.
    """
    period_s, latency_s = placed_period_s(problem, placed), _latency_s(problem, placed)
    for what, takes_s, most_s in (
        ("--rate allows", period_s, wish.period_s),
        ("--max-latency allows", latency_s, wish.max_latency_s or np.inf),
    ):
        if takes_s > a_star.relaxed(most_s):
            raise InfeasibleError(
                f"the plan takes {takes_s:.6g} s, {what} {most_s:.6g} s: allow more, or plan anew"
            )
    stages = []
    energy_j = 0.0
    slowdowns: list[float] = []
    for nth, (devices, i, j) in enumerate(placed):
        slowest_s = _slowest_s(problem, devices, i, j)
        clock_hz, slowdown = _fastest_hz(problem, devices[0]), 1.0
        if wish.objective == "energy":
            clock = energy.best_clock(problem, devices[0], i, j, wish.period_s)
            clock_hz, slowdown = clock.hz, 1.0 / clock.speed
        slowdowns.append(slowdown)
        stages.append(
            PlannedStage(
                start=i,
                end=j,
                first_block=problem.blocks[i],
                last_block=problem.blocks[j - 1],
                devices=tuple(problem.devices[device] for device in devices),
                compute_s=slowest_s * slowdown,
                period_s=slowest_s * slowdown / len(devices),
                receive_s=_receive_s(problem, placed, nth),
                received_bytes=int(problem.cut_bytes[i]),
                memory_bytes=int(problem.stage_bytes[i, j]),
                free_bytes=int(problem.capacity_bytes[list(devices)].min()),
                clock_hz=clock_hz,
            )
        )
    send_s = float(problem.exit_s[list(placed[-1][0])].max())
    if wish.objective == "energy":
        energy_j = _energy_j(problem, placed, wish.period_s)
    first = list(placed[0][0])
    encode_s = 0.0 if problem.source in first else problem.input_encode_s
    ways_s = [stage.receive_s for stage in stages]
    longest_s = max(*(stage.period_s for stage in stages), *ways_s, encode_s, send_s)
    return Plan(
        objective=wish.objective,
        stages=tuple(stages),
        encode_s=encode_s,
        send_s=send_s,
        period_s=longest_s,
        latency_s=_latency_s(problem, placed, slowdowns),
        energy_j=energy_j if wish.objective == "energy" else None,
        bound=float(bound),
        binding=_binding(problem, stages, longest_s),
    )


def _fastest_hz(problem: Problem, device: int) -> float | None:
    clocks = problem.clocks[device] if problem.clocks else ()
    return clocks[-1].hz if clocks else None


def _latency_s(
    problem: Problem, placed: Placement, slowdowns: Sequence[float] | None = None
) -> float:
    """Of a frame that waits nowhere and meets the slowest of each stage's replicas."""
    total_s = 0.0
    for (devices, i, j), slowdown in zip(placed, slowdowns or [1.0] * len(placed), strict=True):
        # The source is busy with the input there, too, in a later stage.
        ways_s = [
            problem.stage_s(device, i, j)
            - (problem.input_encode_s if i and device == problem.source else 0.0)
            for device in devices
        ]
        total_s += max(ways_s) * slowdown
    for (senders, _, j), (devices, _, _) in pairwise(placed):
        total_s += max(
            problem.transfer_s(j, u, v) + float(problem.delay_s[u, v])
            for u in senders
            for v in devices
        )
    first, last = list(placed[0][0]), list(placed[-1][0])
    if problem.source is not None:
        total_s += float((problem.entry_s + problem.delay_s[problem.source])[first].max())
        total_s += 0.0 if problem.source in first else problem.input_encode_s
    if problem.sink is not None:
        total_s += float((problem.exit_s + problem.delay_s[:, problem.sink])[last].max())
    return total_s


def _energy_j(problem: Problem, placed: Placement, period_s: float) -> float:
    costs = energy.energy_costs(problem, period_s)
    of = {device: k for k, group in enumerate(problem.classes) for device in group}
    route = [of[devices[0]] for devices, _, _ in placed]
    total = sum(costs.stage[k, i, j] for k, (_, i, j) in zip(route, placed, strict=True))
    total += sum(costs.link[placed[n][2], a, b] for n, (a, b) in enumerate(pairwise(route)))
    return float(total + costs.entry[route[0]] + costs.exit[route[-1]])


def _binding(problem: Problem, stages: list[PlannedStage], longest_s: float) -> str:
    for nth, stage in enumerate(stages):
        if stage.period_s == longest_s:
            return f"compute of stage {nth + 1} on {_names(stage.devices)}"
        if stage.receive_s == longest_s:
            sender = _names(stages[nth - 1].devices) if nth else _source(problem)
            what = f"cut {stages[nth - 1].last_block}" if nth else "the input"
            return f"transfer of {what} from {sender} to {_names(stage.devices)}"
    if longest_s == problem.input_encode_s:
        return f"encoding of the input on {_source(problem)}"
    sink = "" if problem.sink is None else f" to {problem.devices[problem.sink]}"
    return f"transfer of the output from {_names(stages[-1].devices)}{sink}"


def _source(problem: Problem) -> str:
    return "" if problem.source is None else problem.devices[problem.source]


def _names(devices: tuple[str, ...]) -> str:
    return " and ".join(devices)

"""Plans held against every placement there is: no false proof, refusal or figure.

python -m tests.partition.placement.verify --instances 10000
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np

from partition.placement.cluster import Cluster
from partition.placement.errors import ClusterError, InfeasibleError, PlacementError
from partition.placement.plan import Plan, PlannedStage
from partition.placement.solver import bisection
from partition.placement.solver.problem import build_problem
from partition.placement.solver.solve import PlacementObjective, solve
from partition.placement.what_if import Change, find_changes
from tests.partition.placement.brute_force import SAME, Group, Measures, Placement, World
from tests.partition.placement.small_clusters import Instance, draw

_LONG_S = 100.0
_SOON_S = 1e-3
_MUCH = 10**12
_OBJECTIVES = ("latency", "latency at a rate", "energy")


@dataclass
class Verdict:
    """What became of one instance, and what is wrong with it."""

    seed: int
    outcome: str = ""
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Case:
    """What is asked, and the values of all placements that it allows."""

    instance: Instance
    world: World
    wish: PlacementObjective
    allowed: tuple[tuple[float, Measures], ...]
    """What the wish counts, and of which placement."""
    n_placements: int
    """Without a rate or a limit of latency."""

    @property
    def best(self) -> float:
        return min((value for value, _ in self.allowed), default=math.inf)


def verify(seed: int) -> Verdict:
    """Plan one instance and look for what is not true."""
    verdict = Verdict(seed)
    instance, world = draw(seed), World(draw(seed))
    try:
        cluster = _load(instance.text)
    except ClusterError as error:
        verdict.outcome = "refused file"
        if not world.refused:
            verdict.faults.append(f"refused: {error}")
        return verdict
    if world.refused:
        verdict.faults.append("a file that cannot work was taken")
        return verdict
    if {left.name for left in cluster.left_out} != {world.names[d] for d in world.left_out}:
        verdict.faults.append(f"left out {cluster.left_out}")
    case = _case(seed, instance, world)
    problem = build_problem(instance.network, cluster, instance.memory_limit_bytes)
    states = 0 if seed // 7 % 2 else bisection._FEW_STATES  # the roads for few and for many
    try:
        with mock.patch.object(bisection, "_FEW_STATES", states):
            plan = solve(problem, case.wish)
    except InfeasibleError as error:
        verdict.outcome = f"{instance.mode}: infeasible"
        verdict.faults += _refusal_faults(case, str(error))
    except PlacementError as error:
        verdict.outcome = f"{instance.mode}: not in time"
        if case.wish.time_limit_s == _LONG_S:
            verdict.faults.append(f"gave up: {error}")
    else:
        verdict.outcome = f"{instance.mode}: {'proved' if plan.proved else 'not in time'}"
        verdict.faults += _plan_faults(case, plan)
        if plan.proved and seed % 5 == 0:
            verdict.faults += _change_faults(case, find_changes(problem, case.wish, plan, _LONG_S))
    return verdict


def _load(text: str) -> Cluster:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cluster.toml"
        path.write_text(text)
        return Cluster.load(path)


def _case(seed: int, instance: Instance, world: World) -> _Case:
    measured = [world.measure(placement) for placement in world.placements(instance.replicas)]
    wish = _wish(np.random.default_rng([seed, 1]), instance, measured)
    return _Case(
        instance=instance,
        world=world,
        wish=wish,
        allowed=tuple(_allowed(world, wish, measured)),
        n_placements=len(measured),
    )


def _wish(
    rng: np.random.Generator, instance: Instance, measured: list[Measures]
) -> PlacementObjective:
    """Ask for a rate or a latency that some placement has exactly, nearly, or that none has."""
    near = float(rng.choice([1.0, 1.0, 1.000001, 0.999999, 1.3]))
    some = measured[rng.integers(len(measured))] if measured else None
    period_s = near * some.period_s if some and some.period_s > 0 else 1.0
    limit_s = near * some.latency_s if some and some.latency_s > 0 else 1.0
    if instance.mode == "energy" and rng.random() < 0.3:
        period_s *= 2.0  # a slower clock keeps up, maybe just so
    return PlacementObjective(
        objective=instance.mode.split()[0] if instance.mode in _OBJECTIVES else "throughput",
        rate_hz=1 / period_s if instance.mode in ("energy", "latency at a rate") else None,
        max_latency_s=limit_s if instance.mode == "max-latency" else None,
        max_replicas=instance.replicas,
        time_limit_s=_SOON_S if rng.random() < 0.1 else _LONG_S,
    )


def _allowed(
    world: World, wish: PlacementObjective, measured: list[Measures]
) -> Iterator[tuple[float, Measures]]:
    """What the wish counts of each placement that it allows."""
    most_s = math.inf if wish.rate_hz is None else 1 / wish.rate_hz
    latest_s = math.inf if wish.max_latency_s is None else wish.max_latency_s
    for each in measured:
        if each.period_s > most_s * (1 + SAME) or each.latency_s > latest_s * (1 + SAME):
            continue
        value = each.period_s if wish.objective == "throughput" else each.latency_s
        if wish.objective == "energy":
            value = world.energy_j(each, most_s)
        if math.isfinite(value):
            yield value, each


def _plan_faults(case: _Case, plan: Plan) -> Iterator[str]:
    json.dumps(plan.to_json(), allow_nan=False)
    world = case.world
    placement: Placement = tuple(
        (tuple(world.names.index(name) for name in stage.devices), stage.start, stage.end)
        for stage in plan.stages
    )
    if (
        placement not in set(world.placements(case.instance.replicas))
        and sorted(world.placements(case.instance.replicas)).count(_in_order(placement)) == 0
    ):
        yield f"no placement: {placement}"
        return
    speeds = [_speed(case, *each) for each in zip(placement, plan.stages, strict=True)]
    truth = world.measure(placement, speeds)
    for what, said, true in (
        ("period", plan.period_s, truth.period_s),
        ("latency", plan.latency_s, truth.latency_s),
    ):
        if not _same(said, true):
            yield f"{what} {said!r}, in truth {true!r}"
    for stage, (group, i, j), speed in zip(plan.stages, placement, speeds, strict=True):
        free = min(world.free_bytes[device] for device in group)
        if (stage.memory_bytes, stage.free_bytes) != (world.need_bytes(i, j), free):
            yield f"memory of stage {i}-{j}: {stage.memory_bytes} of {stage.free_bytes}"
        if not _same(stage.compute_s, world.stage_s(group[0], i, j) / speed):
            yield f"compute of stage {i}-{j}: {stage.compute_s!r}"
    yield from _objective_faults(case, plan, truth)


def _in_order(placement: Placement) -> Placement:
    return tuple((tuple(sorted(group)), i, j) for group, i, j in placement)


def _speed(case: _Case, placed: tuple[Group, int, int], stage: PlannedStage) -> float:
    clocks = case.world.tables[placed[0][0]].get("clocks", [])
    return next((clock["speed"] for clock in clocks if clock["hz"] == stage.clock_hz), 1.0)


def _objective_faults(case: _Case, plan: Plan, truth: Measures) -> Iterator[str]:
    wish = case.wish
    if wish.rate_hz is not None and plan.period_s * wish.rate_hz > 1 + 2 * SAME:
        yield f"does not keep up: {plan.period_s!r} s at {wish.rate_hz!r} Hz"
    if wish.max_latency_s is not None and plan.latency_s > wish.max_latency_s * (1 + 2 * SAME):
        yield f"too late: {plan.latency_s!r} s of {wish.max_latency_s!r} s"
    value = plan.period_s if wish.objective == "throughput" else plan.latency_s
    if wish.objective == "energy":
        stages, sent = case.world.energies_j(truth.placement, 1 / wish.rate_hz)
        hz = [stage.clock_hz for stage in plan.stages]
        value = sum(stage.get(f, math.inf) for stage, f in zip(stages, hz, strict=True)) + sent
    if not _same(plan.value, value):
        yield f"counts {plan.value!r}, in truth {value!r}"
    if plan.proved and plan.value > case.best * (1 + SAME) + 1e-15:
        yield f"proved {plan.value!r}, {case.best!r} exists"
    if plan.bound > case.best * (1 + SAME) + 1e-15:
        yield f"no placement below {plan.bound!r}, {case.best!r} exists"
    if not plan.proved and wish.time_limit_s == _LONG_S:
        yield f"not proved: {plan.value!r}, bound {plan.bound!r}, best {case.best!r}"


def _change_faults(case: _Case, changes: Iterable[Change]) -> Iterator[str]:
    """What a faster link or more memory is said to bring, against every placement again."""
    for change in list(changes)[1:]:
        world = copy.copy(case.world)
        if "memory" in change.what:
            world.free_bytes = [2 * n for n in world.free_bytes]
        else:
            link = re.search(r"link from (\S+) to (\S+) twice", change.what)
            pair = [world.names.index(name) for name in link.groups()] if link else []
            world.links = {
                ends: (rate_bps * (2 if not pair or list(ends) == pair else 1), delay_s)
                for ends, (rate_bps, delay_s) in world.links.items()
            }
        measured = [world.measure(p) for p in world.placements(case.instance.replicas)]
        best = min(value for value, _ in _allowed(world, case.wish, measured))
        if not change.proved or not _same(change.value, best):
            yield f"{change}, in truth {best!r}"


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=SAME, abs_tol=1e-15)


def _refusal_faults(case: _Case, sentence: str) -> Iterator[str]:
    """A refusal where there is a placement, or a remedy that would be none."""
    if case.allowed:
        yield f"{case.best!r} exists, but: {sentence}"
        return
    asks_too_much = "no placement keeps up" in sentence or "no placement answers" in sentence
    if asks_too_much != (case.n_placements > 0):
        yield f"{case.n_placements} placements exist, but: {sentence}"
    if asks_too_much:
        return
    for pattern, is_true in _REASONS.items():
        found = re.search(pattern, sentence)
        if found:
            if not is_true(case.world, *map(int, found.groups())):
                yield f"not so: {sentence}"
            return
    yield f"unknown sentence: {sentence}"


def _is_tightest(world: World, need: int, more: int) -> bool:
    """Whether every way to cut it has a stage of so many bytes, and no device has them."""
    room = max(world.free_bytes[device] for device in world.able)
    return need - more == room and any(world.tilings(need)) and not any(world.tilings(need - 1))


def _is_least(world: World, need: int, more: int) -> bool:
    """Whether every way to cut it takes so many bytes, and all devices together have less."""
    free = [world.free_bytes[device] for device in world.able]
    return need == min(map(sum, world.tilings(max(free)))) and sum(free) == need - more


def _is_missing(world: World, missing: int) -> bool:
    """Whether so many bytes more on every device are enough, and hardly fewer would be."""
    less = missing - max(math.ceil(0.01 * missing), 1)
    return any(world.placements(more_bytes=missing)) and not any(world.placements(more_bytes=less))


def _lacks_links(world: World) -> bool:
    return not any(world.placements(more_bytes=_MUCH))


_REASONS: dict[str, Callable[..., bool]] = {
    r"needs? (\d+) bytes, (\d+) more than the largest device": _is_tightest,
    r"needs (\d+) bytes on all devices together, (\d+) more than": _is_least,
    r"no room, (\d+) bytes are missing on every device": _is_missing,
    r"no links lead": _lacks_links,
}


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.partition.placement.verify")
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first instance (0)")
    arguments = parser.parse_args()
    outcomes: Counter[str] = Counter()
    n_faults, start_s = 0, time.monotonic()
    for nth in range(arguments.instances):
        seed = arguments.first + nth
        verdict = judged(seed)
        outcomes[verdict.outcome] += 1
        n_faults += bool(verdict.faults)
        for fault in verdict.faults:
            print(f"instance {seed}: {fault}", flush=True)
        if (nth + 1) % 500 == 0:
            seconds = time.monotonic() - start_s
            print(f"{nth + 1} instances, {n_faults} with faults, {seconds:.0f} s", flush=True)
    for outcome, n in sorted(outcomes.items()):
        print(f"{n:7d}  {outcome}")
    print(f"{arguments.instances} instances, {n_faults} with faults")
    return int(n_faults > 0)


def judged(seed: int) -> Verdict:
    """The same, where an error or a warning counts as a fault, too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return verify(seed)
    except Exception as error:
        return Verdict(seed, "failed", [f"{type(error).__name__}: {error}"])


if __name__ == "__main__":
    sys.exit(_main())

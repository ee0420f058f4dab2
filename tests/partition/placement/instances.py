"""Small random placement problems, and every placement of them looked at one by one."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np

from partition.placement.cluster import ClockPoint
from partition.placement.solver.problem import Problem, memory_of_stages


def random_problem(seed: int, n: int | None = None, n_blocks: int | None = None) -> Problem:
    """Unequal or alike devices, full or sparse links, with or without ends; some too big.

    Of three seeds one has cuts of three sizes, the input as large as some later cut, and one has
    devices whose memory is what some stage needs, to the byte.
    """
    rng = np.random.default_rng(seed)
    n = n or int(rng.integers(1, 6))
    n_blocks = n_blocks or int(rng.integers(1, 8))
    kind = np.arange(n) % int(rng.integers(1, n + 1))
    speed, room = rng.uniform(0.5, 4, n)[kind], rng.uniform(0.5, 3, n)[kind]
    weights = np.concatenate([[0], np.cumsum(rng.lognormal(0, 1, n_blocks) * 1e6)]).astype(int)
    peak = np.concatenate([[0], rng.lognormal(0, 1, n_blocks) * 1e5]).astype(int)
    cut_bytes = (rng.lognormal(0, 1, n_blocks + 1) * 1e5).astype(np.int64)
    if seed % 3 == 0:
        cut_bytes = rng.choice([0, *cut_bytes[:2]], n_blocks + 1)
    stage_bytes = memory_of_stages(list(weights), list(peak), cut_bytes, 1)
    capacity_bytes = (weights[-1] * room * 2.5 / n).astype(np.int64) + 4 * int(cut_bytes.max())
    if seed % 3 == 1:
        of_stages = np.sort(stage_bytes[np.triu_indices(n_blocks + 1, 1)])
        capacity_bytes = rng.choice(of_stages[len(of_stages) // 2 :], n)[kind]
    bytes_per_s = np.full((n, n), 3e5) * 10 ** rng.uniform(-1, 1)
    if rng.integers(2):
        bytes_per_s = bytes_per_s * rng.uniform(0.5, 1.5, (n, n))
    bytes_per_s[rng.random((n, n)) < rng.choice([0.0, 0.3, 0.6])] = 0.0
    np.fill_diagonal(bytes_per_s, 0.0)
    codec_s = rng.uniform(0, 0.05, (1, n_blocks + 1)) / speed[:, None]
    end = 0 if rng.integers(2) else None
    clocks = (ClockPoint(hz=1e9, speed=0.5, busy_w=3.0), ClockPoint(hz=2e9, speed=1.0, busy_w=8.0))
    return Problem(
        devices=tuple(f"device {k}" for k in range(n)),
        blocks=tuple(f"block {k}" for k in range(n_blocks)),
        block_s=rng.lognormal(0, 1, n_blocks)[None] / speed[:, None] / n_blocks,
        encode_s=codec_s,
        decode_s=codec_s,
        cut_bytes=cut_bytes,
        stage_bytes=stage_bytes,
        capacity_bytes=capacity_bytes,
        bytes_per_s=bytes_per_s,
        delay_s=rng.uniform(0, 0.02) * np.ones((n, n)),
        source=end,
        sink=end,
        clocks=(clocks,) * n,
        idle_w=rng.uniform(0.5, 2, n)[kind],
        send_w=rng.uniform(0, 1, n)[kind],
    )


def all_placements(problem: Problem):
    """Every placement with one device per stage: ((device, i, j), ...)."""

    def grow(steps, used):
        cut = steps[-1][2] if steps else 0
        if cut == problem.n_blocks:
            yield tuple(steps)
            return
        for device in set(range(problem.n_devices)) - used:
            for end in range(cut + 1, problem.n_blocks + 1):
                if math.isfinite(problem.stage_s(device, cut, end)):
                    yield from grow([*steps, (device, cut, end)], used | {device})

    yield from grow([], set())


def parts(problem: Problem, steps) -> list[float]:
    """Seconds of every stage, every transfer, the way in and the way out."""
    seconds = [problem.stage_s(*step) for step in steps]
    for (a, _, cut), (b, _, _) in pairwise(steps):
        seconds.append(problem.transfer_s(cut, a, b))
    encode_s = 0.0 if problem.source in (None, steps[0][0]) else problem.encode_s[problem.source, 0]
    seconds.append(encode_s)
    return [*seconds, problem.entry_s[steps[0][0]], problem.exit_s[steps[-1][0]]]


def least_period(problem: Problem) -> float:
    """By trying everything; inf if nothing fits."""
    return min((max(parts(problem, s)) for s in all_placements(problem)), default=math.inf)


def least_period_in_pairs(problem: Problem) -> float:
    """By trying everything, where up to two devices of a kind share a stage."""
    kind = problem.kinds[0]
    pairs = combinations(range(problem.n_devices), 2)
    groups = [(u,) for u in range(problem.n_devices)]
    groups += [(u, v) for u, v in pairs if kind[u] == kind[v]]

    def grow(cut, last, used, worst_s):
        if cut == problem.n_blocks:
            return max(worst_s, *(problem.exit_s[u] for u in last))
        best = math.inf
        for group in groups:
            if used & set(group):
                continue
            receive_s = (
                max(problem.transfer_s(cut, u, v) for u in last for v in group)
                / min(len(last), len(group))
                if last
                else max(problem.entry_s[u] for u in group)
            )
            if not last and problem.source is not None and problem.source not in group:
                receive_s = max(receive_s, problem.encode_s[problem.source, 0])
            for end in range(cut + 1, problem.n_blocks + 1):
                stage_s = problem.stage_s(group[0], cut, end) / len(group)
                worse_s = max(worst_s, receive_s, stage_s)
                if worse_s < best:
                    best = min(best, grow(end, group, used | set(group), worse_s))
        return best

    return grow(0, (), set(), 0.0)


def latency(problem: Problem, steps) -> float:
    delays = [problem.delay_s[a[0], b[0]] for a, b in pairwise(steps)]
    if problem.source is not None:
        delays.append(problem.delay_s[problem.source, steps[0][0]])
    if problem.sink is not None:
        delays.append(problem.delay_s[steps[-1][0], problem.sink])
    # A source with a later stage is busy with the input there, which is encoded once.
    twice = problem.source is not None and any(step[0] == problem.source for step in steps[1:])
    encoded_s = problem.encode_s[problem.source, 0] if twice else 0.0
    return sum(parts(problem, steps)) + sum(delays) - encoded_s


def energy(problem: Problem, steps, period_s: float) -> float:
    """Joules at the best clocks, all of them tried; inf where the period cannot be kept."""
    seconds = parts(problem, steps)
    if max(seconds) > period_s:
        return math.inf
    total = 0.0
    for device, i, j in steps:
        busy_s = problem.stage_s(device, i, j)
        idle_w = problem.idle_w[device]
        total += min(
            clock.busy_w * busy_s / clock.speed + idle_w * (period_s - busy_s / clock.speed)
            for clock in problem.clocks[device]
            if busy_s / clock.speed <= period_s
        )
    transfers_s = seconds[len(steps) : -3]
    total += sum(
        problem.send_w[step[0]] * s for step, s in zip(steps[:-1], transfers_s, strict=True)
    )
    source_w = 0.0 if problem.source is None else problem.send_w[problem.source]
    return total + source_w * seconds[-2] + problem.send_w[steps[-1][0]] * seconds[-1]
